//! What arguments are hashed with, so that who reads the audit can tell one from another and not what they are.
//!
//! The hash is keyed, because what people are called by is guessed sooner than it is computed: without the key a list of
//! all customers would be a list of all hashes. All processes of one database use one key, so that one argument has one
//! hash. Whoever has the key can try guesses, which is what makes `poet audit --field name=value` possible.

use crate::config::Secret;
use crate::fingerprint::canonical;
use crate::sip::Sip;
use serde_json::{Map, Value};
use std::fmt;
use std::hash::{BuildHasher, RandomState};

/// A key that arguments are hashed with.
///
/// # Examples
///
/// ```
/// use poet_runtime::audit::AuditKey;
/// use serde_json::json;
///
/// let key = AuditKey::of(&"a key of at least 16 characters".into());
/// let hash = key.field("email", &json!("ada@example.com"));
/// assert!(hash.starts_with('#') && !hash.contains("ada"));
/// assert_eq!(hash, key.field("email", &json!("ada@example.com")));
/// assert_ne!(hash, AuditKey::drawn().field("email", &json!("ada@example.com")));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuditKey([u64; 2]);

impl AuditKey {
    /// The key that a secret of the configuration stands for.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        Self(halves(hash([0, 0], &["audit key", secret.expose()])))
    }

    /// A new key.
    #[must_use]
    pub fn drawn() -> Self {
        Self([0, 1].map(|half| RandomState::new().hash_one(half)))
    }

    /// The key that was stored so.
    #[must_use]
    pub fn from_bits(high: u64, low: u64) -> Self {
        Self([high, low])
    }

    /// What is to be stored, so that [`from_bits`](Self::from_bits) finds the same key.
    #[must_use]
    pub fn bits(self) -> (u64, u64) {
        (self.0[0], self.0[1])
    }

    /// The hash of all arguments of a call.
    #[must_use]
    pub fn arguments(self, service: &str, operation: &str, arguments: &Map<String, Value>) -> String {
        let mut text = String::new();
        for name in sorted(arguments) {
            text.push_str(&format!("{name:?}:{},", canonical(&arguments[name])));
        }
        format!("{:032x}", hash(self.0, &["arguments", service, operation, &text]))
    }

    /// The hash of one argument: `#` and sixteen hexadecimal digits. That of the same name and value is the same in every
    /// operation.
    #[must_use]
    pub fn field(self, name: &str, value: &Value) -> String {
        format!("#{:016x}", hash(self.0, &["field", name, &canonical(value)]) as u64)
    }

    /// The hash of what tells credentials from others.
    #[must_use]
    pub fn identity(self, identity: u64) -> String {
        format!("{:016x}", hash(self.0, &["identity", &identity.to_string()]) as u64)
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey([redacted])")
    }
}

/// The names of arguments in one order, whatever that of the map.
pub(super) fn sorted(arguments: &Map<String, Value>) -> Vec<&String> {
    let mut names: Vec<_> = arguments.keys().collect();
    names.sort_unstable();
    names
}

fn halves(whole: u128) -> [u64; 2] {
    [(whole >> 64) as u64, whole as u64]
}

/// Each part with its length before it, so that no two lists of parts are fed alike.
fn hash(key: [u64; 2], parts: &[&str]) -> u128 {
    let mut sip = Sip::new(key);
    for part in parts {
        sip.word(part.len() as u64);
        for chunk in part.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            sip.word(u64::from_le_bytes(word));
        }
    }
    sip.finish(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_stored_is_hashed_alike_for_ever() {
        let key = AuditKey::from_bits(1, 2);
        assert_eq!(key.bits(), (1, 2));
        let hash = key.field("id", &json!(7));
        assert_eq!(hash, AuditKey::from_bits(1, 2).field("id", &json!(7)));
        assert_eq!(hash.len(), 17);
        assert_ne!(hash, key.field("id", &json!("7")));
        assert_ne!(hash, key.field("di", &json!(7)));
    }

    #[test]
    fn neither_the_order_of_arguments_nor_that_of_their_keys_changes_their_hash() {
        let key = AuditKey::drawn();
        let of = |value: Value| key.arguments("crm", "update", value.as_object().unwrap());
        assert_eq!(of(json!({ "a": 1, "b": { "c": 2, "d": 3 } })), of(json!({ "b": { "d": 3, "c": 2 }, "a": 1 })));
        assert_ne!(of(json!({ "a": "1,b" })), of(json!({ "a": "1", "b": 0 })));
    }
}
