//! Claims about strict audits: what is on disk when, and what happens where it cannot be.

use super::*;
use crate::config::{AuditLevel, Config, Secret, ServiceConfig, ToolConfig};
use crate::error::Error;
use crate::outcome::{Class, Ending};
use crate::pipeline::service::{AttemptContext, Caller, Failure, Fetched, Request};
use crate::profile::Profile;
use crate::recorder::Moody;
use crate::runtime::Runtime;
use crate::store::{BoxFuture, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Does something while it is called, and answers.
struct During<F>(F, AtomicU32);

impl<F> std::fmt::Debug for During<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("During")
    }
}

impl<F: Fn() -> Result<Value, Failure> + Send + Sync + 'static> Caller for During<F> {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        self.1.fetch_add(1, Ordering::SeqCst);
        let answer = (self.0)();
        Box::pin(async move { answer.map(Fetched::from) })
    }
}

fn caller<F: Fn() -> Result<Value, Failure> + Send + Sync + 'static>(during: F) -> Arc<During<F>> {
    Arc::new(During(during, AtomicU32::new(0)))
}

fn strict() -> Config {
    Config::default().service(ServiceConfig::named("crm").audit(AuditLevel::Strict))
}

fn update(repeatable: bool) -> Request {
    Request { repeatable, ..Request::new("crm", "update", Profile::GENERAL) }
}

fn moody() -> (Runtime, Moody) {
    let store = Moody::new();
    let runtime = Runtime::builder().configuration(strict()).store(store.clone()).build().unwrap();
    (runtime, store)
}

async fn written(store: &mut impl Store) -> Vec<AuditEntry> {
    store.audit(&AuditFilter::default(), 100).await.unwrap()
}

#[tokio::test]
async fn a_strict_audit_refuses_what_it_cannot_write_down() {
    let (runtime, mut store) = moody();
    store.breaks(true);
    let sends = caller(|| Ok(json!("done")));
    let error = runtime.request(update(false), sends.clone()).await.unwrap_err();
    assert!(error.is_unrecorded() && !error.is_outcome_unknown(), "{error}");
    assert_eq!((error.attempts(), sends.1.load(Ordering::SeqCst)), (0, 0), "nothing was sent");
    assert!(error.to_string().contains("not sent, because its audit is strict"), "{error}");
    store.breaks(false);
    runtime.flush().await.unwrap();
    let entry = written(&mut store).await.remove(0);
    assert_eq!(entry.ending, Some(Ending::Denied), "what was refused is written down once there is a way");
    assert!(matches!(&entry.detail.decisions[0].what, What::Refused { why, .. } if why == "audit"), "{entry:?}");
}

#[tokio::test]
async fn an_answer_whose_end_cannot_be_written_down_is_withheld() {
    for repeatable in [true, false] {
        let (runtime, mut store) = moody();
        let breaks = store.clone();
        let sends = caller(move || {
            breaks.breaks(true);
            Ok(json!("done"))
        });
        let error = runtime.request(update(repeatable), sends).await.unwrap_err();
        assert_eq!((error.is_unrecorded(), error.is_outcome_unknown()), (repeatable, !repeatable), "{error}");
        assert_eq!(error.attempts(), 1);
        assert_eq!(written(&mut store).await[0].ended, None, "that it was about to be made is there");
        store.breaks(false);
        runtime.flush().await.unwrap();
        let entry = written(&mut store).await.remove(0);
        assert_eq!(entry.ending, Some(error.ending()));
        assert_eq!((entry.detail.disposition, entry.detail.attempts), (None, 1));
    }
}

#[tokio::test]
async fn an_error_of_the_service_is_told_whether_or_not_its_end_can_be_written_down() {
    let (runtime, store) = moody();
    let breaks = store.clone();
    let sends = caller(move || {
        breaks.breaks(true);
        Err(Failure::new(Class::Permanent, "no such contact"))
    });
    let error = runtime.request(update(false), sends).await.unwrap_err();
    assert!(error.is_service() && error.to_string().ends_with("no such contact"), "{error}");
}

#[cfg(feature = "sqlite")]
mod on_disk {
    use super::*;
    use crate::store::SqliteStore;
    use std::path::{Path, PathBuf};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("poet.db");
        (folder, path)
    }

    /// What another process reads at this moment.
    fn read(path: &Path) -> Vec<AuditEntry> {
        let mut store = SqliteStore::open_read_only(path).unwrap();
        crate::recorder::block_on::block_on(store.audit(&AuditFilter::default(), 100)).unwrap()
    }

    #[tokio::test]
    async fn that_a_call_is_about_to_be_made_is_on_disk_before_anything_is_sent_and_its_end_before_the_answer() {
        let (_folder, path) = folder();
        let runtime = Runtime::builder().configuration(strict()).database(&path).build().unwrap();
        let beside = path.clone();
        let sends = caller(move || {
            let written = read(&beside);
            assert_eq!((written.len(), written[0].ended), (1, None));
            Ok(json!(written[0].execution))
        });
        let reply = runtime.request(update(false), sends).await.unwrap();
        // Nobody flushed: whoever is killed here has lost nothing.
        let written = read(&path);
        assert_eq!((written.len(), written[0].ending), (1, Some(Ending::Done)));
        assert_eq!(written[0].execution, reply.audit_id().to_string());
        assert_eq!(reply.value(), &json!(written[0].execution), "one number from beginning to end");
    }

    #[tokio::test]
    async fn a_strict_call_that_is_dropped_ends_in_the_audit_too() {
        let (_folder, path) = folder();
        let runtime = Runtime::builder().configuration(strict()).database(&path).build().unwrap();
        #[derive(Debug)]
        struct Never(Arc<tokio::sync::Notify>);
        impl Caller for Never {
            fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
                self.0.notify_one();
                Box::pin(std::future::pending())
            }
        }
        let begun = Arc::new(tokio::sync::Notify::new());
        let call = runtime.request(update(false), Arc::new(Never(begun.clone())));
        tokio::select! {
            _ = call => panic!("it never answers"),
            () = begun.notified() => {}
        }
        runtime.flush().await.unwrap();
        let entry = read(&path).remove(0);
        assert_eq!(entry.ending, Some(Ending::Cancelled));
        assert_eq!(entry.detail.decisions[0].what, What::Dropped { under_way: true });
    }

    #[tokio::test]
    async fn no_secret_is_in_the_bytes_of_the_database() {
        let (_folder, path) = folder();
        let mut config = Config::default().service(ServiceConfig {
            auth_token: Some(Secret::new("token-hunter2")),
            audit: AuditLevel::On.into(),
            ..ServiceConfig::http("crm", "https://user:password-hunter2@crm.test/mcp?key=query-hunter2")
        });
        config.audit.fields = vec!["id".to_owned()];
        config.audit.key = Some(Secret::new("the-audit-key-hunter2"));
        let config = config.service(
            ServiceConfig::named("billing")
                .audit(AuditLevel::Strict)
                .tool("pay", ToolConfig::default().audit(AuditLevel::Strict)),
        );
        let runtime = Runtime::builder().configuration(config).database(&path).build().unwrap();
        let sends = caller(|| {
            let text = "401: Bearer token-hunter2 at https://user:password-hunter2@crm.test/mcp?key=query-hunter2, \
                        asked for argument-hunter2 by nested-hunter2, api_key=other-hunter2";
            Err(Failure::new(Class::Permanent, text))
        });
        for service in ["crm", "billing"] {
            let mut request = Request { identity: 4711, ..Request::new(service, "pay", Profile::GENERAL) };
            request.arguments.insert("id".to_owned(), json!("customer-7"));
            request.arguments.insert("card".to_owned(), json!("argument-hunter2"));
            request.arguments.insert("more".to_owned(), json!({ "in": ["nested-hunter2"] }));
            runtime.request(request, sends.clone()).await.unwrap_err();
        }
        runtime.shutdown(std::time::Duration::from_secs(10)).await.unwrap();
        let written = read(&path);
        assert_eq!(written.len(), 2);
        assert!(written.iter().all(|entry| entry.detail.error.as_deref().is_some_and(|error| error.contains("401"))));
        let crm = written.iter().find(|entry| entry.target.service == "crm").unwrap();
        assert!(crm.detail.identity.is_some(), "a hash of it");
        for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!holds("hunter2"));
            assert!(holds("customer-7") || !holds("card"), "what is allowed is there");
        }
    }

    #[tokio::test]
    async fn two_processes_write_into_one_audit() {
        let (_folder, path) = folder();
        let runtimes = [(); 2].map(|()| Runtime::builder().configuration(strict()).database(&path).build().unwrap());
        let calls = runtimes.iter().flat_map(|runtime| (0..8).map(move |_| runtime)).map(|runtime| {
            let runtime = runtime.clone();
            tokio::spawn(async move { runtime.request(update(false), caller(|| Ok(json!(1)))).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().unwrap();
        }
        let written = read(&path);
        assert_eq!(written.len(), 16);
        assert!(written.iter().all(|entry| entry.ending == Some(Ending::Done)));
    }
}

#[test]
fn an_error_says_that_the_call_may_be_made_again_only_if_it_may() {
    use crate::error::Kind;
    let unsent = Error::new(Kind::Unrecorded { sent: false });
    let sent = Error::new(Kind::Unrecorded { sent: true });
    assert!(unsent.allows_another(false) && !sent.allows_another(false) && sent.allows_another(true));
    assert_eq!((unsent.ending(), sent.ending()), (Ending::Denied, Ending::Failed));
    assert!(!unsent.class().is_retryable());
}
