//! Signs requests as RFC 9421 says (HTTP Message Signatures), so that a server can tell who sent them and that nobody
//! has changed them since.
//!
//! A signature covers the method, the address without its scheme (which a proxy that ends TLS changes), the body by its
//! digest (RFC 9530), the token, and whatever the protocol says in headers. It is made for one sending: a request that
//! is sent again has another time and another nonce.

use super::connection::Target;
use super::input::Attended;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use poet_runtime::config::{Signing, SigningAlgorithm};
use poet_runtime::{Clock, Error};
use reqwest::Url;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;
use ring::{digest, hmac};
use std::fmt;
use std::sync::Arc;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");
const SIGNATURE: HeaderName = HeaderName::from_static("signature");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// What the names of the protocol's own headers begin with: session, revision, method, tool, arguments.
const OF_THE_PROTOCOL: &str = "mcp-";
const LABEL: &str = "poet";
/// How long a server may take a request for a fresh one: long enough for clocks that differ, short enough to remember
/// every nonce of.
const FRESH_FOR: i64 = 300;

/// A key that requests to an MCP server are signed with. Its debug form shows neither the key nor its name.
///
/// # Examples
///
/// ```
/// use poet_domains::mcp::{Signer, Target};
///
/// let signer = Signer::hmac_sha256("poet-1", "c2l4dGVlbiBieXRlcyEhIQ==")?;
/// let target = Target::http("https://crm.example/mcp").signed_by(signer);
/// assert!(!format!("{target:?}").contains("poet-1"));
/// # Ok::<(), poet_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Signer(Arc<Inner>);

struct Inner {
    algorithm: SigningAlgorithm,
    key_id: String,
    key: Key,
}

enum Key {
    Shared(hmac::Key),
    Own(Ed25519KeyPair),
}

impl Signer {
    /// Signs by a secret that the server has too: at least 16 bytes, as base64.
    ///
    /// # Errors
    ///
    /// If it is no such secret, or the name of the key has other characters than printable ones of ASCII.
    pub fn hmac_sha256(key_id: impl Into<String>, secret: &str) -> Result<Self, Error> {
        Self::try_from(&Signing::new(SigningAlgorithm::HmacSha256, key_id, secret)?)
    }

    /// Signs by a private key of Ed25519: PKCS#8 as PEM, or its 32 bytes as base64. The server has the public one.
    ///
    /// # Errors
    ///
    /// If it is no such key, or its name has other characters than printable ones of ASCII.
    pub fn ed25519(key_id: impl Into<String>, key: &str) -> Result<Self, Error> {
        Self::try_from(&Signing::new(SigningAlgorithm::Ed25519, key_id, key)?)
    }

    /// Signs a request that is sent now.
    pub(super) fn sign(&self, request: &mut Signed<'_>) -> Result<(), Unsigned> {
        let mut nonce = [0; 16];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Unsigned("the machine gives no random numbers"))?;
        let created = Clock::system().wall().millis().div_euclid(1000);
        self.sign_as(request, created, &BASE64.encode(nonce))
    }

    fn sign_as(&self, request: &mut Signed<'_>, created: i64, nonce: &str) -> Result<(), Unsigned> {
        if let Some(body) = request.body {
            let digest = BASE64.encode(digest::digest(&digest::SHA256, body));
            request.headers.insert(CONTENT_DIGEST, header(&format!("sha-256=:{digest}:"))?);
        }
        let covered = request.covered();
        let input = self.input(&covered, created, nonce);
        let base = request.base(&covered, &input)?;
        let signature = BASE64.encode(self.0.key.sign(base.as_bytes()));
        request.headers.insert(SIGNATURE_INPUT, header(&format!("{LABEL}={input}"))?);
        request.headers.insert(SIGNATURE, header(&format!("{LABEL}=:{signature}:"))?);
        Ok(())
    }

    /// What is covered, and by whom and when it is signed.
    fn input(&self, covered: &[String], created: i64, nonce: &str) -> String {
        let covered: Vec<_> = covered.iter().map(|name| format!("\"{name}\"")).collect();
        let (covered, expires) = (covered.join(" "), created.saturating_add(FRESH_FOR));
        let (key_id, algorithm) = (quoted(&self.0.key_id), self.0.algorithm.as_str());
        format!("({covered});created={created};expires={expires};keyid={key_id};alg=\"{algorithm}\";nonce=\"{nonce}\"")
    }
}

impl TryFrom<&Signing> for Signer {
    type Error = Error;

    fn try_from(signing: &Signing) -> Result<Self, Error> {
        let key = match signing.algorithm() {
            SigningAlgorithm::HmacSha256 => Key::Shared(hmac::Key::new(hmac::HMAC_SHA256, signing.key())),
            SigningAlgorithm::Ed25519 => {
                let key = Ed25519KeyPair::from_seed_unchecked(signing.key());
                Key::Own(key.map_err(|_| Error::configuration("no private key of Ed25519 to sign with"))?)
            }
            other => {
                let name = other.as_str();
                return Err(Error::configuration(format!("requests cannot be signed by `{name}` in this build")));
            }
        };
        let (algorithm, key_id) = (signing.algorithm(), signing.key_id().to_owned());
        Ok(Self(Arc::new(Inner { algorithm, key_id, key })))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.0.algorithm.as_str())
    }
}

impl Key {
    fn sign(&self, base: &[u8]) -> Vec<u8> {
        match self {
            Self::Shared(secret) => hmac::sign(secret, base).as_ref().to_vec(),
            Self::Own(key) => key.sign(base).as_ref().to_vec(),
        }
    }
}

/// Why a request could not be signed; so it is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsigned(&'static str);

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request cannot be signed: {}", self.0)
    }
}

/// A request that is to be signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    pub(super) headers: &'a mut HeaderMap,
    pub(super) body: Option<&'a [u8]>,
}

impl Signed<'_> {
    /// The components that a signature covers: all that there are of those that decide what the server does.
    fn covered(&self) -> Vec<String> {
        let headers = [CONTENT_TYPE, CONTENT_DIGEST, AUTHORIZATION, LAST_EVENT_ID];
        let mut protocol: Vec<_> =
            self.headers.keys().filter(|name| name.as_str().starts_with(OF_THE_PROTOCOL)).collect();
        protocol.sort_unstable_by_key(|name| name.as_str());
        let headers = headers.iter().filter(|name| self.headers.contains_key(*name)).chain(protocol);
        let derived = ["@method", "@authority", "@path", "@query"];
        derived.into_iter().chain(headers.map(HeaderName::as_str)).map(str::to_owned).collect()
    }

    /// The text that is signed.
    fn base(&self, covered: &[String], input: &str) -> Result<String, Unsigned> {
        let mut base = String::new();
        for name in covered {
            base += &format!("\"{name}\": {}\n", self.value(name)?);
        }
        Ok(base + &format!("\"@signature-params\": {input}"))
    }

    /// What a component is in this request.
    fn value(&self, name: &str) -> Result<String, Unsigned> {
        match name {
            "@method" => Ok(self.method.to_string()),
            "@authority" => {
                let host = self.url.host_str().unwrap_or_default();
                // The port that the scheme means is none here.
                Ok(self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
            }
            "@path" => Ok(self.url.path().to_owned()),
            "@query" => Ok(format!("?{}", self.url.query().unwrap_or_default())),
            header => {
                let values = self.headers.get_all(header).iter();
                let values: Result<Vec<_>, _> = values.map(|value| value.to_str().map(str::trim)).collect();
                Ok(values.map_err(|_| Unsigned("a header has other characters than those of ASCII"))?.join(", "))
            }
        }
    }
}

fn header(value: &str) -> Result<HeaderValue, Unsigned> {
    HeaderValue::from_str(value).map_err(|_| Unsigned("a character that no header may contain"))
}

/// A string as structured fields write it (RFC 8941).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

impl Target {
    /// The server, and what is sent to it signed by this key: every request over streamable HTTP and HTTP+SSE, and the
    /// handshake of a WebSocket. A program of this machine is sent nothing that could be signed.
    #[must_use]
    pub fn signed_by(self, signer: Signer) -> Attended {
        Attended::from(self).signed_by(signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9421, B.1.5 and B.1.4.
    const SHARED: &str = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    const OWN: &str = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n\
        -----END PRIVATE KEY-----\n";
    const BODY: &[u8] = br#"{"hello": "world"}"#;

    struct Message {
        url: Url,
        headers: HeaderMap,
    }

    impl Message {
        /// The request of RFC 9421, B.2.
        fn of_the_rfc() -> Self {
            let said = [
                ("host", "example.com"),
                ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
                ("content-type", "application/json"),
                ("content-length", "18"),
            ];
            let said = said.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let url = Url::parse("https://example.com/foo?param=Value&Pet=dog").unwrap();
            Self { url, headers: said.into_iter().collect() }
        }

        fn signed(&mut self) -> Signed<'_> {
            Signed { method: &Method::POST, url: &self.url, headers: &mut self.headers, body: Some(BODY) }
        }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_secret_signs_as_in_appendix_b_2_5_of_the_rfc() {
        let signer = Signer::hmac_sha256("test-shared-secret", SHARED).unwrap();
        let input = r#"("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#;
        let base = Message::of_the_rfc().signed().base(&names(&["date", "@authority", "content-type"]), input).unwrap();
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;\
             keyid=\"test-shared-secret\""
        );
        let signature = BASE64.encode(signer.0.key.sign(base.as_bytes()));
        assert_eq!(signature, "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=");
    }

    #[test]
    fn a_private_key_signs_as_in_appendix_b_2_6_of_the_rfc() {
        let signer = Signer::ed25519("test-key-ed25519", OWN).unwrap();
        let covered = names(&["date", "@method", "@path", "@authority", "content-type", "content-length"]);
        let input = "(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
                     ;created=1618884473;keyid=\"test-key-ed25519\"";
        let base = Message::of_the_rfc().signed().base(&covered, input).unwrap();
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@method\": POST\n\
             \"@path\": /foo\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"content-length\": 18\n\
             \"@signature-params\": (\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\")\
             ;created=1618884473;keyid=\"test-key-ed25519\""
        );
        let signature = BASE64.encode(signer.0.key.sign(base.as_bytes()));
        assert_eq!(
            signature,
            "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw=="
        );
    }

    #[test]
    fn a_body_is_covered_by_its_digest_as_in_rfc_9530() {
        let mut message = Message::of_the_rfc();
        let signer = Signer::hmac_sha256("poet", SHARED).unwrap();
        let mut signed = message.signed();
        // RFC 9530, B.1 and B.2: with a line end, and empty.
        for (body, digest) in [
            (b"{\"hello\": \"world\"}\n".as_slice(), "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="),
            (b"".as_slice(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ] {
            signed.body = Some(body);
            signer.sign_as(&mut signed, 1_618_884_473, "n").unwrap();
            assert_eq!(signed.headers[CONTENT_DIGEST], format!("sha-256=:{digest}:"));
        }
    }

    #[test]
    fn everything_that_decides_what_the_server_does_is_covered() {
        let mut message = Message::of_the_rfc();
        for (name, value) in
            [("mcp-session-id", "7"), ("mcp-protocol-version", "2025-06-18"), ("authorization", "Bearer t")]
        {
            message.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let signer = Signer::ed25519(r#"a "key""#, OWN).unwrap();
        signer.sign_as(&mut message.signed(), 1_618_884_473, "bm9uY2U=").unwrap();
        assert_eq!(
            message.headers[SIGNATURE_INPUT],
            "poet=(\"@method\" \"@authority\" \"@path\" \"@query\" \"content-type\" \"content-digest\" \
             \"authorization\" \"mcp-protocol-version\" \"mcp-session-id\");created=1618884473;expires=1618884773;\
             keyid=\"a \\\"key\\\"\";alg=\"ed25519\";nonce=\"bm9uY2U=\""
        );
        assert!(message.headers[SIGNATURE].to_str().unwrap().starts_with("poet=:"));
        let mut bare = Message { url: Url::parse("http://EXAMPLE.com:8080").unwrap(), headers: HeaderMap::new() };
        let mut signed = Signed { method: &Method::GET, body: None, ..bare.signed() };
        signer.sign_as(&mut signed, 0, "n").unwrap();
        let covered = signed.covered();
        let input = "()";
        assert_eq!(
            signed.base(&covered, input).unwrap(),
            "\"@method\": GET\n\"@authority\": example.com:8080\n\"@path\": /\n\"@query\": ?\n\"@signature-params\": ()"
        );
    }

    #[test]
    fn no_two_signatures_are_the_same_and_none_is_made_of_what_cannot_be_signed() {
        let signer = Signer::hmac_sha256("poet", SHARED).unwrap();
        let mut message = Message::of_the_rfc();
        let mut signature = || {
            signer.sign(&mut message.signed()).unwrap();
            message.headers[SIGNATURE].clone()
        };
        assert_ne!(signature(), signature());
        message.headers.insert(HeaderName::from_static("mcp-session-id"), HeaderValue::from_bytes(b"\xfc").unwrap());
        assert!(signer.sign(&mut message.signed()).unwrap_err().to_string().contains("ASCII"));
    }

    #[test]
    fn a_key_is_shown_nowhere() {
        let target = Target::http("http://crm.test/mcp").signed_by(Signer::ed25519("hunter2", OWN).unwrap());
        let shown = format!("{target:?} {target:#?}");
        assert!(shown.contains("Signer(ed25519)") && !shown.contains("hunter2") && !shown.contains("MC4C"), "{shown}");
        let error = Signer::hmac_sha256("poet", "hunter2").unwrap_err();
        assert!(error.is_configuration() && !format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
