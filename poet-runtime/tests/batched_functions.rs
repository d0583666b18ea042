//! Functions that name a bulk form, as the attribute expands them, in virtual time.

#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use poet_runtime::__private::{Call, Caps, caps, repeatable, run_batched, run_batched_once};
use poet_runtime::config::Config;
use poet_runtime::store::{MemoryStore, OutcomeRow, Store};
use poet_runtime::{Class, Classify, Clock, Declaration, Ending, Error, Priority, Runtime, Site, Wall};
use std::fmt;
use std::future::pending;
use std::sync::Mutex;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);

fn runtime() -> (Runtime, MemoryStore) {
    let store = MemoryStore::new();
    let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    let builder = Runtime::builder().configuration(Config::default()).store(store.clone()).clock(clock).seed(7);
    (builder.build().expect("a correct configuration"), store)
}

const fn declared(function: &'static str) -> Declaration {
    Declaration {
        service: Some("crm"),
        operation: Some(function),
        ..Declaration::new(function, "shop", "src/shop.rs", 1)
    }
}

async fn outcomes(runtime: &Runtime, mut store: MemoryStore, operation: &str) -> Vec<OutcomeRow> {
    runtime.flush().await.unwrap();
    let rows = store.outcomes(None, 1_000).await.unwrap();
    rows.into_iter().filter(|row| row.target.operation == operation).collect()
}

/// Makes calls at once, each in a task of its own within the runtime, and returns what each got, in their order.
async fn at_once<T: Send + 'static, F>(runtime: &Runtime, ids: std::ops::Range<u64>, call: impl Fn(u64) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for id in ids {
        let (runtime, call) = (runtime.clone(), call(id));
        calls.spawn(async move { (id, runtime.scope(call).await) });
    }
    let mut ended = calls.join_all().await;
    ended.sort_by_key(|(id, _)| *id);
    ended.into_iter().map(|(_, result)| result).collect()
}

/// An error that cannot be cloned, as most cannot.
#[derive(Debug)]
enum Problem {
    Own(Class, String),
    Runtime(Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(class, words) => write!(f, "{words} ({})", class.as_str()),
            Self::Runtime(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Problem {}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Runtime(error)
    }
}

impl Classify for Problem {
    fn class(&self) -> Class {
        match self {
            Self::Own(class, _) => *class,
            Self::Runtime(error) => error.class(),
        }
    }
}

type Doubled = Result<u64, Problem>;

fn own(class: Class, words: &str) -> Problem {
    Problem::Own(class, words.to_owned())
}

/// What the bulk functions of one test were given.
type Log = Mutex<Vec<Vec<u64>>>;

fn note(log: &Log, items: &[u64]) {
    log.lock().unwrap().push(items.to_vec());
}

fn sizes(log: &Log) -> Vec<usize> {
    log.lock().unwrap().iter().map(Vec::len).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_within_a_window_are_given_to_the_bulk_function_together() {
    static SITE: Site = Site::new(declared("together"));
    static LOG: Log = Log::new(Vec::new());
    async fn many(ids: Vec<u64>) -> Vec<Doubled> {
        note(&LOG, &ids);
        sleep(20 * MS).await;
        ids.into_iter().map(|id| if id == 7 { Err(own(Class::Permanent, "no 7")) } else { Ok(id * 2) }).collect()
    }
    fn double(id: u64) -> impl Future<Output = Doubled> + Send {
        run_batched_once(&SITE, Call::new(caps!(Doubled)), id, many, |_| async { panic!("nobody goes alone here") })
    }
    let (runtime, store) = runtime();
    let answers = at_once(&runtime, 0..100, double).await;
    assert_eq!(sizes(&LOG), [50, 50]);
    for (id, answer) in (0..).zip(answers) {
        match answer {
            Ok(doubled) => assert_eq!(doubled, id * 2),
            Err(problem) => assert!(id == 7 && matches!(problem, Problem::Own(Class::Permanent, _))),
        }
    }
    let rows = outcomes(&runtime, store.clone(), "together").await;
    let count = |ending| rows.iter().filter(|row| row.ending == ending && row.attempts == 0).count();
    assert_eq!((count(Ending::Batched), count(Ending::Failed)), (99, 1));
    let rows = outcomes(&runtime, store, "together (batch)").await;
    assert_eq!(rows.iter().map(|row| (row.ending, row.attempts)).collect::<Vec<_>>(), [(Ending::Done, 1); 2]);
}

#[tokio::test(start_paused = true)]
async fn too_few_run_their_own_bodies_and_what_matters_more_does_not_wait() {
    static SITE: Site = Site::new(declared("alone"));
    async fn many(_: Vec<u64>) -> Vec<Doubled> {
        panic!("nobody goes together here")
    }
    fn double(id: u64, priority: Priority) -> impl Future<Output = Doubled> + Send {
        let call = Call::new(caps!(Doubled)).priority(priority);
        run_batched_once(&SITE, call, id, many, |id| async move { Ok(id * 2) })
    }
    let (runtime, store) = runtime();
    let began = Instant::now();
    let answers = at_once(&runtime, 0..3, |id| double(id, Priority::Critical)).await;
    assert_eq!((answers.len(), began.elapsed()), (3, Duration::ZERO));
    let answers = at_once(&runtime, 0..4, |id| double(id, Priority::Normal)).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 2, 4, 6]);
    let rows = outcomes(&runtime, store, "alone").await;
    assert!(rows.len() == 7 && rows.iter().all(|row| row.ending == Ending::Done && row.attempts == 1));
}

#[tokio::test(start_paused = true)]
async fn a_bulk_function_that_may_not_run_twice_runs_once_and_its_error_is_everybodys() {
    static SITE: Site = Site::new(declared("once"));
    static LOG: Log = Log::new(Vec::new());
    async fn many(ids: Vec<u64>) -> Result<Vec<u64>, Problem> {
        note(&LOG, &ids);
        Err(own(Class::Transient, "503"))
    }
    fn double(id: u64) -> impl Future<Output = Doubled> + Send {
        run_batched_once(&SITE, Call::new(caps!(Doubled)), id, many, |_| async { panic!("what may have run") })
    }
    let (runtime, _) = runtime();
    let answers = at_once(&runtime, 0..20, double).await;
    assert_eq!(sizes(&LOG), [20]);
    let (mut whole, mut unknown) = (0, 0);
    for answer in answers {
        match answer.unwrap_err() {
            Problem::Own(Class::Transient, _) => whole += 1,
            Problem::Runtime(error) if error.is_outcome_unknown() => {
                assert!(error.to_string().contains("503"), "{error}");
                unknown += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!((whole, unknown), (1, 19), "the error itself for one, its words for the others");
}

#[tokio::test(start_paused = true)]
async fn a_bulk_function_that_may_run_again_is_halved_down_to_the_item_at_fault() {
    static SITE: Site = Site::new(Declaration { idempotent: true, ..declared("halved") });
    static LOG: Log = Log::new(Vec::new());
    async fn many(ids: Vec<u64>) -> Result<Vec<u64>, Problem> {
        note(&LOG, &ids);
        if ids.contains(&7) {
            Err(own(Class::Permanent, "no 7"))
        } else {
            Ok(ids.into_iter().map(|id| id * 2).collect())
        }
    }
    async fn one(id: u64) -> Doubled {
        note(&LOG, &[id]);
        if id == 7 { Err(own(Class::Permanent, "no 7, really")) } else { Ok(id * 2) }
    }
    fn double(id: u64) -> impl Future<Output = Doubled> + Send {
        let item = repeatable(&id).again(id);
        run_batched(&SITE, Call::new(caps!(Doubled)), item, many, one)
    }
    let (runtime, _) = runtime();
    let answers = at_once(&runtime, 0..50, double).await;
    for (id, answer) in (0..).zip(answers) {
        match answer {
            Ok(doubled) => assert_eq!(doubled, id * 2),
            Err(problem) => assert!(id == 7 && problem.to_string().contains("really"), "{problem}"),
        }
    }
    assert!(sizes(&LOG).len() <= 13, "{:?}", sizes(&LOG));
}

#[tokio::test(start_paused = true)]
async fn an_item_that_failed_for_now_is_tried_again_by_itself_where_that_is_allowed() {
    static SITE: Site = Site::new(Declaration { idempotent: true, ..declared("again") });
    async fn many(ids: Vec<u64>) -> Result<Vec<Doubled>, Problem> {
        Ok(ids.into_iter().map(|id| if id == 3 { Err(own(Class::Transient, "busy")) } else { Ok(id * 2) }).collect())
    }
    fn double(id: u64) -> impl Future<Output = Doubled> + Send {
        let item = repeatable(&id).again(id);
        run_batched(&SITE, Call::new(caps!(Doubled)), item, many, |id| async move { Ok(id * 2) })
    }
    let (runtime, store) = runtime();
    let answers = at_once(&runtime, 0..10, double).await;
    assert!(answers.iter().all(Result::is_ok));
    let rows = outcomes(&runtime, store, "again").await;
    assert_eq!(rows.iter().filter(|row| row.ending == Ending::Done).count(), 1);
    assert_eq!(rows.iter().filter(|row| row.ending == Ending::Batched).count(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_count_of_answers_is_an_error_for_each() {
    static ONCE: Site = Site::new(declared("short_once"));
    static AGAIN: Site = Site::new(Declaration { idempotent: true, ..declared("short_again") });
    async fn many(ids: Vec<u64>) -> Vec<Doubled> {
        ids.into_iter().skip(1).map(Ok).collect()
    }
    async fn one(_: u64) -> Doubled {
        panic!("nobody goes alone here")
    }
    let (runtime, _) = runtime();
    let once = |id| run_batched_once(&ONCE, Call::new(caps!(Doubled)), id, many, one);
    for answer in at_once(&runtime, 0..10, once).await {
        assert!(matches!(answer, Err(Problem::Runtime(error)) if error.is_outcome_unknown()));
    }
    let again = |id: u64| run_batched(&AGAIN, Call::new(caps!(Doubled)), repeatable(&id).again(id), many, one);
    for answer in at_once(&runtime, 0..10, again).await {
        assert!(matches!(answer, Err(Problem::Runtime(error)) if error.is_invalid_response()));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_sent_with_others_ends_by_its_deadline_and_a_panic_ends_everybody() {
    static HANGS: Site = Site::new(Declaration { deadline: Some(Duration::from_secs(2)), ..declared("hangs") });
    static PANICS: Site = Site::new(declared("panics"));
    async fn hang(_: Vec<u64>) -> Vec<Doubled> {
        pending().await
    }
    async fn explode(_: Vec<u64>) -> Vec<Doubled> {
        panic!("scripted")
    }
    async fn one(_: u64) -> Doubled {
        panic!("nobody goes alone here")
    }
    let (runtime, store) = runtime();
    let began = Instant::now();
    let calls = |id| run_batched_once(&HANGS, Call::new(caps!(Doubled)), id, hang, one);
    for answer in at_once(&runtime, 0..10, calls).await {
        assert!(matches!(answer, Err(Problem::Runtime(error)) if error.is_outcome_unknown()));
    }
    assert!(began.elapsed() <= Duration::from_millis(2_050), "{:?}", began.elapsed());
    let rows = outcomes(&runtime, store, "hangs").await;
    assert!(rows.len() == 10 && rows.iter().all(|row| row.ending == Ending::OutcomeUnknown));

    let began = Instant::now();
    let calls = |id| run_batched_once(&PANICS, Call::new(caps!(Doubled)), id, explode, one);
    for answer in at_once(&runtime, 0..10, calls).await {
        assert!(matches!(answer, Err(Problem::Runtime(error)) if error.is_outcome_unknown()));
    }
    assert!(began.elapsed() <= 60 * MS, "nobody waits for who is gone: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_inside_the_bulk_function_find_the_runtime_and_end_with_it() {
    static SITE: Site = Site::new(Declaration { deadline: Some(Duration::from_secs(3)), ..declared("inside") });
    async fn many(ids: Vec<u64>) -> Result<Vec<u64>, Error> {
        let call = poet_runtime::service::ServiceCall::new("erp", "get", poet_runtime::Profile::GENERAL);
        let answer = Runtime::current()
            .call(&call, |attempt| async move {
                sleep(10 * MS).await;
                let left = attempt.until - Instant::now().into_std();
                Ok::<_, poet_runtime::service::Failure>(left <= Duration::from_secs(3))
            })
            .await?;
        assert!(answer.value, "the deadline of those it works for holds inside");
        Ok(ids)
    }
    let (runtime, store) = runtime();
    let calls = |id| {
        let call = Call::new(caps!(Result<u64, Error>));
        run_batched_once(&SITE, call, id, many, |_| async { panic!("nobody goes alone here") })
    };
    assert!(at_once(&runtime, 0..10, calls).await.iter().all(Result::is_ok));
    assert_eq!(outcomes(&runtime, store, "get").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_refused_or_has_nothing_to_wait_on_goes_alone() {
    static SITE: Site = Site::new(declared("plain"));
    async fn many(_: Vec<u64>) -> Vec<Doubled> {
        panic!("nobody goes together here")
    }
    let (runtime, _) = runtime();
    let calls = |id| run_batched_once(&SITE, Call::new(Caps::observe()), id, many, |id| async move { Ok(id * 2) });
    assert!(at_once(&runtime, 0..10, calls).await.iter().all(Result::is_ok));
}
