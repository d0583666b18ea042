//! `poet audit` on a database that calls of a program wrote.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

mod common;

use poet_runtime::config::{AuditLevel, AuditRules, CacheConfig, Config, Secret, ServiceConfig, ToolConfig};
use poet_runtime::service::{AttemptContext, Caller, Failure, Fetched, Request, Vetting};
use poet_runtime::store::BoxFuture;
use poet_runtime::{Class, Clock, Error, Profile, Runtime, Wall, audit};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

/// Answers as it is told, and then well.
#[derive(Debug, Default)]
struct Scripted(Mutex<VecDeque<Class>>);

#[derive(Debug)]
struct Sends(Arc<Scripted>);

impl Caller for Sends {
    fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
        let class = self.0.0.lock().unwrap().pop_front().unwrap_or(Class::Success);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            match class {
                Class::Success => Ok(json!("ok").into()),
                Class::Cancelled => std::future::pending().await,
                class => Err(Failure::new(class, "Bearer token-hunter2 is not welcome, nor is argument-hunter2")),
            }
        })
    }

    fn vetting(&self, request: &Request) -> Vetting {
        let allowed = request.operation != "delete";
        let rule = if allowed { "the service has no rule against it" } else { "`deny` of the service has `delete`" };
        Vetting { access: Some(audit::AccessRule { allowed, rule: rule.to_owned() }), ..Vetting::default() }
    }
}

fn find(runtime: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
    Ok(Arc::new(Sends(runtime.extension::<Scripted>())))
}

fn request(tool: &str, customer: u32) -> Request {
    let mut request = Request { repeatable: true, identity: 4711, ..Request::new("crm", tool, &PROFILE) };
    request.arguments.insert("id".to_owned(), json!(customer));
    request.arguments.insert("email".to_owned(), json!(format!("customer-{customer}@hunter2.test")));
    request.arguments.insert("card".to_owned(), json!("argument-hunter2"));
    request
}

/// A database with one call of each kind.
struct World {
    folder: TempDir,
    runtime: Runtime,
}

impl World {
    async fn lived() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kept = CacheConfig { ttl: Some(Duration::from_secs(60)), ..CacheConfig::default() };
        let crm = ServiceConfig { auth_token: Some(Secret::new("token-hunter2")), ..ServiceConfig::named("crm") };
        let crm = crm
            .audit(AuditRules::from(AuditLevel::On).field("id"))
            .maintenance("13:00-14:00".parse().unwrap())
            .tool("read", ToolConfig::default().read_only().cache(kept))
            .tool("update", ToolConfig::default().cost(0.02).deferrable())
            .tool("pay", ToolConfig::default().audit(AuditLevel::Strict).pin("retry.max_retries", 0));
        let mut config = Config::default().service(crm);
        config.queue.work = false;
        let noon = Wall::from_millis(1_781_092_800_000);
        let runtime = Runtime::builder()
            .configuration(config)
            .database(folder.path().join("poet.db"))
            .profile(&PROFILE)
            .clock(Clock::virtual_from(noon))
            .seed(7)
            .build()
            .unwrap();
        let world = Self { folder, runtime };

        world.answers([Class::Transient]);
        world.call(request("update", 1)).await.unwrap();
        let read = || Request { read_only: true, ..request("read", 2) };
        world.call(read()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        world.call(read()).await.unwrap();
        let caller = find(&world.runtime, "crm").unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        world.runtime.refused(&request("delete", 3), &caller, Error::denied("calling delete of crm")).await;
        world.answers([Class::Permanent]);
        world.call(request("pay", 4)).await.unwrap_err();
        world.answers([Class::Cancelled]);
        tokio::time::timeout(Duration::from_secs(1), world.call(request("read", 5))).await.unwrap_err();
        world.answers([Class::Transient; 8]);
        while !world.call(request("pay", 6)).await.unwrap_err().is_circuit_open() {}
        world.answers([]);
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        assert!(world.call(request("update", 7)).await.unwrap().is_pending());
        tokio::time::sleep(Duration::from_secs(3_600)).await;
        world.runtime.scope(async { world.runtime.queue().run_due().await }).await.unwrap();
        world.runtime.flush().await.unwrap();
        world
    }

    fn answers<const N: usize>(&self, classes: [Class; N]) {
        *self.runtime.extension::<Scripted>().0.lock().unwrap() = classes.into();
    }

    async fn call(&self, request: Request) -> Result<poet_runtime::Reply, Error> {
        // So that no two begin in the same millisecond.
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.runtime.request(request, find(&self.runtime, "crm").unwrap()).await
    }

    fn poet(&self, arguments: &[&str]) -> Output {
        let db = self.folder.path().join("poet.db");
        // Not where somebody's configuration may lie.
        let mut command = common::poet();
        command.current_dir(self.folder.path()).arg("audit").args(arguments).arg("--db").arg(db).output().unwrap()
    }

    fn text(&self, arguments: &[&str]) -> String {
        let output = self.poet(arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        let is_text = !arguments.contains(&"json");
        assert!(!is_text || text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        // Words, wherever lines are broken.
        if is_text { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.text(&[arguments, &["--format", "json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The calls that pass, oldest first: what was called and how it ended.
    fn calls(&self, arguments: &[&str]) -> Vec<String> {
        let said = self.json(arguments);
        let word = |call: &Value, name: &str| call[name].as_str().unwrap().to_owned();
        let calls = said["calls"].as_array().unwrap().iter().rev();
        calls.map(|call| format!("{} {}", word(call, "tool"), word(call, "ending"))).collect()
    }

    /// The number of the newest call of a tool that ended so.
    fn id(&self, tool: &str, ending: &str) -> String {
        self.id_of(&["--tool", tool, "--ending", ending])
    }

    /// The number of the newest call that passes.
    fn id_of(&self, arguments: &[&str]) -> String {
        let said = self.json(&[arguments, &["--limit", "1"]].concat());
        said["calls"][0]["id"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn an_auditor_finds_out_who_did_what_and_whether_it_was_allowed() {
    let world = World::lived().await;
    let all = world.calls(&[]);
    let once = ["update done", "read done", "read cached", "delete denied", "pay failed", "read cancelled"];
    assert_eq!(all[..6], once);
    assert_eq!(all[all.len() - 3..], ["pay circuit_open", "update deferred", "update done"]);
    assert_eq!(world.calls(&["--service", "crm", "--ending", "denied"]), ["delete denied"]);
    assert_eq!(world.calls(&["--since", "2026-06-10T13:00:00Z"]), ["update deferred", "update done"]);
    assert_eq!(world.calls(&["--field", "id=2"]), ["read done", "read cached"], "as it is");
    assert_eq!(world.calls(&["--field", "id=7"]), ["update deferred", "update done"]);
    assert_eq!(world.calls(&["--field", "email=customer-3@hunter2.test"]), ["delete denied"], "by its hash");
    assert_eq!(world.calls(&["--tool", "read", "--limit", "1"]), ["read cancelled"]);
    let list = world.text(&["--tool", "delete"]);
    assert!(
        list.contains("2026-06-10T12:00:05Z denied") && list.contains("`deny` of the service has `delete`"),
        "{list}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_operator_reads_why_a_call_waited_and_who_decided_it() {
    let world = World::lived().await;
    let told = world.text(&[&world.id("update", "done")]);
    let retried = world.json(&["--field", "id=1"])["calls"][0].clone();
    let told_retry = world.text(&[retried["id"].as_str().unwrap()]);
    for said in [
        "update of crm: the service answered",
        "attempt 1 failed (transient) after 10 ms of at most 10.0 s. Decided by the service",
        "tried again after a failure that was transient. Decided by the default of its profile:",
        "before the next attempt. Decided by the default of its profile: retry.base_delay",
        "attempt 2 was answered",
        "cost 0.0400",
        "id = 1",
    ] {
        assert!(told_retry.contains(said), "{said}: {told_retry}");
    }
    assert!(told.contains("put off as"), "{told}");
    let cached = world.text(&[&world.id("read", "cached")]);
    assert!(cached.contains("an answer that was 5.0 s old. Decided by the configuration: cache.ttl"), "{cached}");
    let refused = world.text(&[&world.id("pay", "circuit_open")]);
    assert!(refused.contains("refused, because the circuit was open for another"), "{refused}");
    let dropped = world.text(&[&world.id("read", "cancelled")]);
    assert!(dropped.contains("dropped while an attempt was under way"), "{dropped}");
    let denied = world.text(&[&world.id("delete", "denied")]);
    assert!(denied.contains("denied: `deny` of the service has `delete`"), "{denied}");
    let failed = world.text(&[&world.id_of(&["--field", "id=4"])]);
    assert!(failed.contains("Bearer [redacted] is not welcome") && failed.contains("strict"), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_put_off_and_the_one_that_made_it_lead_to_each_other() {
    let world = World::lived().await;
    let (put_off, made) = (world.id("update", "deferred"), world.id("update", "done"));
    assert!(world.text(&[&put_off]).contains(&format!("execution {made}")));
    assert!(world.text(&[&made]).contains(&put_off));
    let said = world.json(&[&made]);
    assert_eq!((&said["made_for"], &said["same_job"]), (&json!(put_off), &json!([put_off])));
    let job = said["job"].as_str().unwrap();
    assert_eq!(world.calls(&["--job", job]), ["update deferred", "update done"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown_and_names_for_machines_stay() {
    let world = World::lived().await;
    let failed = world.json(&[&world.id_of(&["--field", "id=4"])]);
    let names: Vec<_> = failed.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = [
        "access",
        "answer",
        "arguments",
        "attempts",
        "began",
        "cost",
        "decisions",
        "declared",
        "disposition",
        "ended",
        "ending",
        "error",
        "fields",
        "fingerprint",
        "function",
        "id",
        "identity",
        "inside",
        "job",
        "left_out",
        "level",
        "made_for",
        "priority",
        "read_only",
        "repeatable",
        "same_job",
        "seconds",
        "service",
        "tool",
    ];
    known.sort_unstable();
    assert_eq!(
        {
            let mut names = names;
            names.sort_unstable();
            names
        },
        known
    );
    assert_eq!(failed["fields"]["id"], "4");
    assert!(failed["fields"]["card"].as_str().unwrap().starts_with('#'));
    assert_eq!((&failed["level"], &failed["ending"]), (&json!("strict"), &json!("failed")));
    assert_eq!(failed["decisions"][0]["decision"], "attempted");
    assert_eq!(failed["decisions"][0]["by"]["who"], "service");
    assert!(failed["identity"].is_string());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_said_with_the_exit_code_of_the_other_commands() {
    let world = World::lived().await;
    for (arguments, code, said) in [
        (&["ffff"][..], 1, "no call whose number begins with `ffff`"),
        (&["--field", "id=99"], 1, "no call that is written down is like that"),
        (&["--ending", "finished"], 2, "no call ends so"),
        (&["--since", "soon"], 2, "expected a moment"),
        (&["0"], 2, "more than one call"),
        (&["0", "--tool", "read"], 2, "cannot be used with"),
    ] {
        let output = world.poet(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("poet.db");
    drop(poet_runtime::store::SqliteStore::open(&db).unwrap());
    let output = common::poet().current_dir(folder.path()).args(["audit", "--db"]).arg(&db).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("[audit]"), "{error}");
}
