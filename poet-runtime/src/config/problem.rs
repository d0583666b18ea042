//! What is wrong with a configuration: every problem at once, each with its place.

use std::error::Error as StdError;
use std::fmt;

/// Why a configuration was refused: every problem it has.
///
/// It prints one problem a line, `poet.toml:12:14: services.crm.trusted: expected true or false, found "yes"`. What
/// came from the environment, and what stands where keys stand, is never part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    pub(super) fn new(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    /// The problems, in the order of their places; at least one.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl StdError for ConfigError {}

impl From<ConfigError> for crate::Error {
    fn from(error: ConfigError) -> Self {
        Self::configuration(error)
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: Option<String>,
    place: Option<Place>,
    message: String,
}

impl Problem {
    pub(super) fn new(message: String) -> Self {
        Self { file: None, place: None, message }
    }

    pub(super) fn of(file: &str, message: String) -> Self {
        Self { file: Some(file.to_owned()), place: None, message }
    }

    pub(super) fn at(file: &str, place: Place, message: String) -> Self {
        Self { file: Some(file.to_owned()), place: Some(place), message }
    }

    /// The file; `None` for a configuration made by a program.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The place in the file; `None` where the file as a whole is the problem.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        self.place
    }

    /// Which key it is about, what was found and what is allowed.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            f.write_str(file)?;
            if let Some(Place { line, column }) = self.place {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// A place in a file, counted from 1 in lines and characters, as editors count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Place {
    /// The place of a byte of a text.
    pub(super) fn of(text: &str, byte: usize) -> Self {
        // A syntax error may stand at the end of the text, and nothing promises that it stands between characters.
        let end = (0..=byte.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        let before = &text[..end];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_characters_and_end_with_the_text() {
        let text = "a\nüb";
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, 4), Place { line: 2, column: 2 });
        assert_eq!(Place::of(text, 3), Place { line: 2, column: 1 });
        assert_eq!(Place::of(text, 99), Place { line: 2, column: 3 });
    }
}
