use super::*;
use crate::config::SigningAlgorithm;

#[test]
fn nothing_secret_is_in_the_debug_form_of_a_service() {
    let service = ServiceConfig {
        endpoints: vec![Endpoint::new("https://user:hunter2@crm.example/mcp?key=hunter2#hunter2")],
        ..ServiceConfig::stdio("crm", "crm-server")
    }
    .arg("--key=hunter2")
    .env("KEY", "hunter2")
    .auth_token("hunter2")
    .signing(Signing::new(SigningAlgorithm::HmacSha256, "hunter2", "aHVudGVyMmh1bnRlcjJodW50ZXIy").expect("it is one"));
    let shown = format!("{service:?} {service:#?}");
    assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVy"), "{shown}");
    assert!(shown.contains("https://…@crm.example/mcp?…") && shown.contains("KEY"), "{shown}");
}

#[test]
fn a_url_without_secrets_is_shown_whole() {
    assert_eq!(showable_url("http://localhost:8002/a@b"), "http://localhost:8002/a@b");
    assert_eq!(showable_url("nonsense"), "nonsense");
    assert_eq!(showable_url("http://a@b@host?x"), "http://…@host?…");
}

#[test]
fn a_service_is_reached_by_what_its_transport_needs() {
    assert!(ServiceConfig::http("a", "http://a").has_address());
    assert!(ServiceConfig::stdio("a", "a").has_address());
    assert!(!ServiceConfig::named("a").has_address());
}
