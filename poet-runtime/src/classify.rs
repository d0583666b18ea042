//! Who decides what a finished attempt was.
//!
//! In order: the author's `failure = path`; the error's own [`Classify`]; what its source chain holds (our own error,
//! an I/O error, whatever the domain's profile recognises). An error nobody knows is taken for a transient failure of
//! the service, as every peer does.

use crate::error::Error;
use crate::outcome::Class;
use crate::profile::Profile;
use std::error::Error as StdError;
use std::io;

/// An error that knows what it says about the service.
///
/// # Examples
///
/// ```
/// use poet_runtime::{Class, Classify};
///
/// enum CrmError {
///     Overloaded,
///     NoSuchContact,
/// }
///
/// impl Classify for CrmError {
///     fn class(&self) -> Class {
///         match self {
///             Self::Overloaded => Class::Transient,
///             Self::NoSuchContact => Class::Permanent,
///         }
///     }
/// }
/// assert!(!CrmError::NoSuchContact.class().is_retryable());
/// ```
pub trait Classify {
    /// What the attempt that ended with this error was.
    fn class(&self) -> Class;
}

impl Classify for Error {
    fn class(&self) -> Class {
        Self::class(self)
    }
}

impl Classify for io::Error {
    fn class(&self) -> Class {
        if let Some(inner) = self.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            return inner.class();
        }
        match self.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Class::Network { sent: false },
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Class::Network { sent: true },
            io::ErrorKind::TimedOut => Class::Timeout,
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidData
            | io::ErrorKind::Unsupported => Class::Permanent,
            _ => Class::Transient,
        }
    }
}

/// What an error's chain says: the first link that anybody knows decides.
pub(crate) fn chain(error: &(dyn StdError + 'static), profile: &Profile) -> Class {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.class();
        }
        if let Some(class) = profile.classify.and_then(|classify| classify(error)) {
            return class;
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Classify::class(io);
        }
        link = error.source();
    }
    Class::Transient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapped(io::Error);

    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "wrapped")
        }
    }

    impl StdError for Wrapped {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn the_cause_deep_in_the_chain_decides() {
        let refused = Wrapped(io::ErrorKind::ConnectionRefused.into());
        assert_eq!(chain(&refused, Profile::GENERAL), Class::Network { sent: false });
    }

    #[test]
    fn our_own_error_inside_an_io_error_keeps_its_class() {
        let inner = Error::service(Class::Permanent, "no such contact");
        let outer = Wrapped(inner.into());
        assert_eq!(chain(&outer, Profile::GENERAL), Class::Permanent);
    }

    #[test]
    fn an_unknown_error_is_taken_for_transient() {
        assert_eq!(chain(&std::fmt::Error, Profile::GENERAL), Class::Transient);
    }
}
