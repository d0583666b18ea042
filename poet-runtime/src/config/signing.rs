//! What the requests to a service are signed with: how a key is written, and what it is.
//!
//! A key is read once, when it is written down, so that whoever signs with it cannot find it wrong. No message about
//! one says what it is.

use super::read::{Field, Hints, Reader};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::error::Error as StdError;
use std::fmt;

/// Shorter ones can be guessed from a few requests.
const SHORTEST_SECRET: usize = 16;
const SEED: usize = 32;
const HMAC_EXPECTED: &str = "expected at least 16 bytes as base64; `openssl rand -base64 32` makes such a secret";
const ED25519_EXPECTED: &str = "expected a private key of Ed25519: PKCS#8 as PEM, or its 32 bytes as base64; `openssl genpkey -algorithm ed25519` \
     makes one";
const HINTS: Hints = &[
    ("key", "there is no such key; did you mean `secret`?"),
    ("keyid", "there is no such key; did you mean `key_id`?"),
    ("private_key", "there is no such key; it is written as the `secret` of `algorithm = \"ed25519\"`"),
];

/// How requests are signed, by the names of RFC 9421.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SigningAlgorithm {
    /// By a secret that both sides have.
    #[default]
    HmacSha256,
    /// By a private key, whose public half the service has.
    Ed25519,
}

impl SigningAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::HmacSha256, Self::Ed25519];

    /// The name used in configuration and in signatures.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::Ed25519 => "ed25519",
        }
    }

    /// The bytes of a key as it is written.
    fn key(self, written: &str) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::HmacSha256 => match decoded(written) {
                Some(secret) if secret.len() >= SHORTEST_SECRET => Ok(secret),
                _ => Err(HMAC_EXPECTED),
            },
            Self::Ed25519 => seed(written).map(Vec::from),
        }
    }
}

/// A key that requests are signed with, and the name it has at the service. Its debug form shows neither.
///
/// # Examples
///
/// ```
/// use poet_runtime::config::{Signing, SigningAlgorithm};
///
/// let secret = "c2l4dGVlbiBieXRlcyEhIQ==";
/// let signing = Signing::new(SigningAlgorithm::HmacSha256, "poet-1", secret)?;
/// assert_eq!((signing.key_id(), signing.key()), ("poet-1", b"sixteen bytes!!!".as_slice()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Signing {
    algorithm: SigningAlgorithm,
    key_id: String,
    key: Vec<u8>,
}

impl Signing {
    /// A key as it is written: for [`SigningAlgorithm::HmacSha256`] a secret of at least 16 bytes as base64, for
    /// [`SigningAlgorithm::Ed25519`] a private key as PEM (PKCS#8), or its 32 bytes as base64.
    ///
    /// # Errors
    ///
    /// If it is no such key, or its name has other characters than printable ones of ASCII.
    pub fn new(algorithm: SigningAlgorithm, key_id: impl Into<String>, secret: &str) -> Result<Self, InvalidSigning> {
        let key_id = key_id.into();
        if let Some(problem) = wrong_name(&key_id) {
            return Err(InvalidSigning { key: "key_id", problem });
        }
        let key = algorithm.key(secret).map_err(|problem| InvalidSigning { key: "secret", problem })?;
        Ok(Self { algorithm, key_id, key })
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// The name the key has at the service.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key itself, for the one place that signs: the secret, or the 32 bytes of the private key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}([redacted])", self.algorithm.as_str())
    }
}

/// Why something is no key to sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSigning {
    key: &'static str,
    problem: &'static str,
}

impl fmt::Display for InvalidSigning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing.{}: {}", self.key, self.problem)
    }
}

impl StdError for InvalidSigning {}

impl From<InvalidSigning> for crate::Error {
    fn from(error: InvalidSigning) -> Self {
        Self::configuration(error)
    }
}

/// A table of `signing`.
pub(super) fn signing(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Signing> {
    let mut table = reader.table(field)?;
    let (name, secret, algorithm) = (table.take("key_id"), table.take("secret"), table.take("algorithm"));
    reader.refuse_rest(&table, HINTS);
    for (key, found) in [("key_id", &name), ("secret", &secret)] {
        if found.is_none() {
            reader.refuse(field, &format!("`{key}` is missing"));
        }
    }
    let names = SigningAlgorithm::ALL.map(|algorithm| (algorithm.as_str(), algorithm));
    let algorithm = algorithm.map_or(Some(SigningAlgorithm::default()), |field| reader.choice(&field, &names, &[]));
    let key_id = name.and_then(|field| {
        let name = reader.word(&field)?;
        checked(reader, &field, wrong_name(&name).map_or(Ok(name), Err))
    });
    let key = secret.and_then(|field| {
        let written = reader.word(&field)?;
        checked(reader, &field, algorithm?.key(&written))
    });
    Some(Signing { algorithm: algorithm?, key_id: key_id?, key: key? })
}

fn checked<T>(reader: &mut Reader<'_>, field: &Field<'_>, read: Result<T, &str>) -> Option<T> {
    read.inspect_err(|problem| reader.refuse(field, problem)).ok()
}

fn wrong_name(name: &str) -> Option<&'static str> {
    let fits = !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (!fits).then_some("expected printable characters of ASCII, which alone may stand in a signature")
}

/// Base64, with or without line ends and padding.
fn decoded(written: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let dense: String = written.split_ascii_whitespace().collect();
    LENIENT.decode(dense).ok()
}

fn seed(written: &str) -> Result<[u8; SEED], &'static str> {
    let body = match written.split_once("-----BEGIN ") {
        None => written,
        Some((_, rest)) => {
            let (label, rest) = rest.split_once("-----").ok_or(ED25519_EXPECTED)?;
            match label {
                "PRIVATE KEY" => rest.split_once("-----END").map_or(rest, |(body, _)| body),
                "PUBLIC KEY" => return Err("is a public key, which the service has; write the private one"),
                "ENCRYPTED PRIVATE KEY" => return Err("is an encrypted key; write it as it is, in a variable"),
                _ => return Err(ED25519_EXPECTED),
            }
        }
    };
    let bytes = decoded(body).ok_or(ED25519_EXPECTED)?;
    // RFC 8410: a sequence of the version, the identifier of Ed25519, and the key in a string in a string.
    let seed = match bytes.as_slice() {
        [0x30, _, 0x02, 0x01, 0 | 1, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20, key @ ..] => {
            key.first_chunk()
        }
        [0x30, ..] if bytes.len() != SEED => return Err("is no key of Ed25519"),
        key => key.try_into().ok(),
    };
    seed.copied().ok_or(ED25519_EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421, B.1.4.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
        -----END PRIVATE KEY-----\n";

    fn ed25519(written: &str) -> Result<Vec<u8>, &'static str> {
        SigningAlgorithm::Ed25519.key(written)
    }

    #[test]
    fn a_private_key_is_the_same_as_pem_as_der_and_as_its_bytes() {
        let key = ed25519(PEM).unwrap();
        assert_eq!((key.len(), key[0], key[31]), (32, 0x9f, 0xc5));
        assert_eq!(ed25519("MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF"), Ok(key.clone()));
        assert_eq!(ed25519("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU="), Ok(key.clone()));
        assert_eq!(ed25519("n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KcU"), Ok(key));
    }

    #[test]
    fn what_is_no_private_key_is_told_what_it_is() {
        let public = PEM.replace("PRIVATE", "PUBLIC");
        assert!(ed25519(&public).unwrap_err().contains("public"));
        assert!(ed25519(&PEM.replace("PRIVATE", "ENCRYPTED PRIVATE")).unwrap_err().contains("encrypted"));
        // Another algorithm, a key cut short, no base64, one byte too few, a secret of another kind.
        for wrong in [PEM.replace("K2Vw", "K2Vu"), PEM.replace("0DFtMDoQikTmiCqirVv9mWG9qfSnF", "")] {
            assert!(ed25519(&wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "hunter2", "-----BEGIN PRIVATE KEY", "n4Ni+HpISpVObnQMW0wOhCKROaIKqKtW/2ZYb2p9KQ=="] {
            assert_eq!(ed25519(wrong), Err(ED25519_EXPECTED), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_is_short_or_no_base64_is_refused() {
        let hmac = |written| SigningAlgorithm::HmacSha256.key(written);
        assert_eq!(hmac("ZmlmdGVlbiBieXRlcy4u").map(|key| key.len()), Err(HMAC_EXPECTED));
        assert_eq!(hmac("c2l4dGVlbiBieXRlcyEhIQ==").map(|key| key.len()), Ok(16));
        for wrong in ["", "hunter2", "c2l4dGVlbiBieXRlcyEhIQ==?"] {
            assert_eq!(hmac(wrong), Err(HMAC_EXPECTED));
        }
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let signing = Signing::new(SigningAlgorithm::Ed25519, "hunter2", PEM).unwrap();
        assert_eq!(format!("{signing:?}"), "ed25519([redacted])");
        let error = Signing::new(SigningAlgorithm::HmacSha256, "a", "hunter2").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(
            Signing::new(SigningAlgorithm::Ed25519, "ü", PEM).unwrap_err().to_string().starts_with("signing.key_id")
        );
    }
}
