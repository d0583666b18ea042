//! What can be wrong with a folder of traces.

use std::fmt;
use std::path::{Path, PathBuf};

/// A folder of traces that cannot be replayed: which file, which line, what stands there and what may.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Read { path: PathBuf, source: std::io::Error },
    Line { path: PathBuf, line: usize, found: String, allowed: String },
    Empty { path: PathBuf, allowed: &'static str },
}

impl Error {
    pub(super) fn read(path: &Path, source: std::io::Error) -> Self {
        Self(Kind::Read { path: path.to_owned(), source })
    }

    pub(super) fn line(path: &Path, line: usize, found: &str, allowed: impl Into<String>) -> Self {
        let found = found.chars().take(80).collect();
        Self(Kind::Line { path: path.to_owned(), line, found, allowed: allowed.into() })
    }

    pub(super) fn empty(path: &Path, allowed: &'static str) -> Self {
        Self(Kind::Empty { path: path.to_owned(), allowed })
    }

    /// Whether a file or folder, or what should stand in it, is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self.0, Kind::Read { .. } | Kind::Empty { .. })
    }

    /// The file or folder at fault.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.0 {
            Kind::Read { path, .. } | Kind::Line { path, .. } | Kind::Empty { path, .. } => path,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Read { path, .. } => write!(f, "reading traces from {}", path.display()),
            Kind::Line { path, line, found, allowed } => {
                write!(f, "{}:{line}: found `{found}`, allowed is {allowed}", path.display())
            }
            Kind::Empty { path, allowed } => {
                write!(f, "{}: found nothing to replay, allowed is {allowed}", path.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Read { source, .. } => Some(source),
            Kind::Line { .. } | Kind::Empty { .. } => None,
        }
    }
}
