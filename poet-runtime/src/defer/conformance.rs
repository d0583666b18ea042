//! What any [`DeferralQueue`] must do, as claims that a test runs against an empty one.
//!
//! Each claim panics, with what it found, if the queue breaks it. A queue across the network passes the same list.

use super::job::{Job, JobId, NewJob, Resolution, State, Token, Verdict};
use super::queue::{Answer, Change, DeferralQueue, Filter, Note, QueueError, Recovered, Reported, Wanted};
use crate::clock::Wall;
use crate::site::Priority;
use crate::store::BoxFuture;
use serde_json::{Value, json};
use std::time::Duration;

/// One claim: its name, and the check of it on an empty queue.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The claim, as a sentence.
    pub name: &'static str,
    /// Panics if the queue breaks it.
    pub check: for<'a> fn(&'a mut dyn DeferralQueue) -> BoxFuture<'a, ()>,
}

macro_rules! claims {
    ($($name:ident),* $(,)?) => {
        /// Every claim. Adding one is a function and a line here.
        pub static ALL: &[Claim] = &[$(Claim { name: stringify!($name), check: |queue| Box::pin($name(queue)) }),*];
    };
}

claims![
    a_new_queue_holds_nothing,
    a_job_comes_back_whole,
    a_job_that_is_put_there_twice_is_one_job,
    a_full_queue_takes_all_of_a_request_or_none,
    uncertain_jobs_count_against_the_bound_and_ended_ones_do_not,
    a_job_is_leased_once_and_not_before_it_is_due,
    the_urgent_are_leased_first_then_the_earliest_then_the_oldest,
    a_worker_gets_only_what_it_can_run,
    jobs_of_one_key_run_one_after_the_other_in_their_order,
    a_key_is_held_up_by_an_uncertain_job_until_a_person_has_looked,
    a_job_of_a_key_that_is_retried_goes_before_the_younger_but_not_beside_them,
    a_done_job_keeps_its_result_and_not_its_arguments,
    a_failed_try_is_made_again_when_it_is_due_until_the_attempts_are_used_up,
    a_lease_that_ends_makes_the_repeatable_pending_and_the_others_uncertain,
    what_the_service_has_taken_on_is_kept_and_is_pending_whatever_becomes_of_a_lease,
    a_renewed_lease_goes_on_and_a_lost_one_is_named,
    a_verdict_that_comes_late_counts_and_one_of_an_older_lease_does_not,
    a_verdict_about_a_job_that_is_not_there_is_an_error,
    what_is_past_its_time_is_given_up_and_not_leased,
    only_a_pending_job_is_cancelled,
    what_failed_or_was_given_up_is_retried_and_the_uncertain_is_not,
    a_person_resolves_what_is_uncertain_and_nothing_else,
    the_next_moment_is_the_earliest_of_due_lease_and_expiry,
    a_refused_change_leaves_the_others_of_its_group_alone,
    jobs_are_listed_newest_first_and_by_state_service_and_number,
    pruning_takes_what_ended_before_and_nothing_that_did_not_end,
];

const NOW: Wall = Wall::from_millis(1_800_000_000_000);
const LEASE: Duration = Duration::from_secs(30);
const MANY: u64 = 1000;

/// A job of the service `crm` that is due now and may not be repeated.
#[must_use]
pub fn job() -> NewJob {
    NewJob::new("mcp_integration", "crm", "update_contact", NOW)
}

fn later(seconds: u64) -> Wall {
    NOW.after(Duration::from_secs(seconds))
}

fn repeatable() -> NewJob {
    NewJob { repeatable: true, ..job() }
}

fn of_key(key: &str) -> NewJob {
    NewJob { order_key: Some(key.to_owned()), ..job() }
}

fn note() -> Note {
    Note { by: "anna".to_owned(), text: Some("looked in the CRM".to_owned()) }
}

async fn change(queue: &mut dyn DeferralQueue, change: Change) -> Result<Answer, QueueError> {
    let mut answers = queue.apply(&[change]).await.expect("the queue can be written");
    assert_eq!(answers.len(), 1, "one answer to one change");
    answers.remove(0)
}

async fn enqueue(queue: &mut dyn DeferralQueue, jobs: Vec<NewJob>) -> Vec<JobId> {
    let ids = jobs.iter().map(|job| job.id).collect();
    let answer = change(queue, Change::Enqueue { jobs, max_pending: MANY }).await.expect("there is room");
    assert_eq!(answer, Answer::Enqueued);
    ids
}

async fn lease_of(queue: &mut dyn DeferralQueue, wanted: Wanted, limit: usize, now: Wall) -> Vec<Job> {
    let lease = Change::Lease { worker: "worker".to_owned(), wanted, limit, lease: LEASE, now };
    match change(queue, lease).await {
        Ok(Answer::Leased(jobs)) => jobs,
        other => panic!("leasing: {other:?}"),
    }
}

async fn lease(queue: &mut dyn DeferralQueue, now: Wall) -> Vec<Job> {
    lease_of(queue, Wanted::default(), 100, now).await
}

async fn leased(queue: &mut dyn DeferralQueue, now: Wall) -> Vec<JobId> {
    lease(queue, now).await.into_iter().map(|job| job.id).collect()
}

async fn report(queue: &mut dyn DeferralQueue, id: JobId, token: Token, verdict: Verdict, now: Wall) -> Reported {
    match change(queue, Change::Report { id, token, verdict, now }).await {
        Ok(Answer::Reported(reported)) => reported,
        other => panic!("reporting: {other:?}"),
    }
}

async fn done(queue: &mut dyn DeferralQueue, job: &Job, now: Wall) {
    let reported = report(queue, job.id, job.token, Verdict::Done(json!("ok")), now).await;
    assert_eq!(reported, Reported::Accepted(State::Done));
}

async fn recover(queue: &mut dyn DeferralQueue, now: Wall) -> Recovered {
    match change(queue, Change::Recover { now }).await {
        Ok(Answer::Recovered(recovered)) => recovered,
        other => panic!("recovering: {other:?}"),
    }
}

async fn retry(queue: &mut dyn DeferralQueue, id: JobId, now: Wall) -> Result<Answer, QueueError> {
    change(queue, Change::Retry { id, note: note(), now }).await
}

async fn resolve(
    queue: &mut dyn DeferralQueue,
    id: JobId,
    resolution: Resolution,
    now: Wall,
) -> Result<Answer, QueueError> {
    change(queue, Change::Resolve { id, resolution, note: note(), now }).await
}

async fn get(queue: &mut dyn DeferralQueue, id: JobId) -> Job {
    queue.get(id).await.expect("the queue can be read").expect("the job is there")
}

async fn state(queue: &mut dyn DeferralQueue, id: JobId) -> State {
    get(queue, id).await.state
}

async fn live(queue: &mut dyn DeferralQueue) -> u64 {
    queue.counts().await.expect("the queue can be counted").live()
}

/// A job that may not be repeated, and whose lease ended without a verdict. Ends a minute after [`NOW`].
async fn uncertain(queue: &mut dyn DeferralQueue, job: NewJob) -> Job {
    let id = enqueue(queue, vec![job]).await[0];
    let leased = lease(queue, NOW).await;
    recover(queue, later(60)).await;
    assert_eq!(state(queue, id).await, State::Uncertain);
    leased.into_iter().find(|job| job.id == id).expect("it was due")
}

fn refused_for(answer: &Result<Answer, QueueError>, wanted: State) -> bool {
    matches!(answer, Err(QueueError::State { state, .. }) if *state == wanted)
}

async fn a_new_queue_holds_nothing(queue: &mut dyn DeferralQueue) {
    assert_eq!(live(queue).await, 0);
    assert_eq!(queue.list(&Filter::default(), 10).await.expect("it can be read"), []);
    assert_eq!(queue.next_due(&Wanted::default()).await.expect("it can be read"), None);
    assert_eq!(queue.get(job().id).await.expect("it can be read"), None);
    assert!(leased(queue, NOW).await.is_empty());
    assert!(recover(queue, NOW).await.is_empty());
}

async fn a_job_comes_back_whole(queue: &mut dyn DeferralQueue) {
    let arguments = json!({ "name": "Zoë \"Z\" O'Neil", "tags": [1, 2.5, null], "id": u64::MAX });
    let new = NewJob {
        arguments: arguments.as_object().expect("an object").clone(),
        options: json!({ "timeout": 5 }),
        priority: Priority::Low,
        order_key: Some("contact 7".to_owned()),
        due: later(10),
        expires: later(20),
        max_attempts: 3,
        execution: Some("run/7".to_owned()),
        ..repeatable()
    };
    let id = enqueue(queue, vec![new.clone()]).await[0];
    assert_eq!(get(queue, id).await, Job::from(new));
}

async fn a_job_that_is_put_there_twice_is_one_job(queue: &mut dyn DeferralQueue) {
    let new = job();
    enqueue(queue, vec![new.clone()]).await;
    let taken = lease(queue, NOW).await;
    enqueue(queue, vec![new.clone()]).await;
    assert_eq!(live(queue).await, 1);
    assert_eq!(get(queue, new.id).await, taken[0], "it is left as it was");
}

async fn a_full_queue_takes_all_of_a_request_or_none(queue: &mut dyn DeferralQueue) {
    enqueue(queue, vec![job()]).await;
    let refused = change(queue, Change::Enqueue { jobs: vec![job(), job()], max_pending: 2 }).await;
    assert!(matches!(refused, Err(QueueError::Full { live: 1, max: 2 })), "{refused:?}");
    assert_eq!(live(queue).await, 1);
    change(queue, Change::Enqueue { jobs: vec![job()], max_pending: 2 }).await.expect("there is room for one");
}

async fn uncertain_jobs_count_against_the_bound_and_ended_ones_do_not(queue: &mut dyn DeferralQueue) {
    uncertain(queue, job()).await;
    let full = change(queue, Change::Enqueue { jobs: vec![job()], max_pending: 1 }).await;
    assert!(matches!(full, Err(QueueError::Full { .. })), "{full:?}");
    let id = queue.list(&Filter::default(), 1).await.expect("it can be read")[0].id;
    resolve(queue, id, Resolution::Failed, NOW).await.expect("it is uncertain");
    change(queue, Change::Enqueue { jobs: vec![job()], max_pending: 1 }).await.expect("there is room again");
}

async fn a_job_is_leased_once_and_not_before_it_is_due(queue: &mut dyn DeferralQueue) {
    let id = enqueue(queue, vec![NewJob { due: later(10), ..job() }]).await[0];
    assert!(leased(queue, later(9)).await.is_empty());
    let first = lease(queue, later(10)).await;
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].id, first[0].state, first[0].attempts), (id, State::Leased, 1));
    assert_eq!(first[0].until, Some(later(10).after(LEASE)));
    assert_eq!(first[0].owner.as_deref(), Some("worker"));
    assert_eq!(get(queue, id).await, first[0]);
    assert!(leased(queue, later(11)).await.is_empty(), "it is under way");
}

async fn the_urgent_are_leased_first_then_the_earliest_then_the_oldest(queue: &mut dyn DeferralQueue) {
    let jobs = vec![
        NewJob { due: later(2), ..job() },
        NewJob { due: later(1), ..job() },
        NewJob { due: later(1), ..job() },
        NewJob { due: later(3), priority: Priority::High, ..job() },
        NewJob { priority: Priority::Low, ..job() },
        NewJob { due: later(3), priority: Priority::Critical, ..job() },
    ];
    let ids = enqueue(queue, jobs).await;
    let order = [5, 3, 1, 2, 0, 4].map(|index| ids[index]);
    let first = lease_of(queue, Wanted::default(), 4, later(5)).await;
    assert_eq!(first.iter().map(|job| job.id).collect::<Vec<_>>(), order[..4]);
    assert_eq!(leased(queue, later(5)).await, order[4..]);
}

async fn a_worker_gets_only_what_it_can_run(queue: &mut dyn DeferralQueue) {
    let jobs = vec![
        NewJob { profile: "database".to_owned(), ..job() },
        NewJob { service: "billing".to_owned(), ..job() },
        job(),
    ];
    let ids = enqueue(queue, jobs).await;
    let wanted = Wanted { profiles: Some(vec!["mcp_integration".to_owned()]), without: vec!["billing".to_owned()] };
    let taken = lease_of(queue, wanted, 10, NOW).await;
    assert_eq!(taken.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[2]]);
    let none = Wanted { profiles: Some(Vec::new()), without: Vec::new() };
    assert!(lease_of(queue, none, 10, NOW).await.is_empty());
    assert_eq!(leased(queue, NOW).await, ids[..2]);
}

async fn jobs_of_one_key_run_one_after_the_other_in_their_order(queue: &mut dyn DeferralQueue) {
    // The younger is more urgent, and due earlier: the order of the key is stronger.
    let younger = NewJob { priority: Priority::Critical, ..of_key("a") };
    let jobs = vec![NewJob { due: later(5), ..of_key("a") }, younger, of_key("b"), job()];
    let ids = enqueue(queue, jobs).await;
    assert_eq!(leased(queue, later(1)).await, ids[2..]);
    let first = lease(queue, later(5)).await;
    assert_eq!(first.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[0]]);
    assert!(leased(queue, later(5)).await.is_empty());
    done(queue, &first[0], later(6)).await;
    assert_eq!(leased(queue, later(6)).await, [ids[1]]);
}

async fn a_key_is_held_up_by_an_uncertain_job_until_a_person_has_looked(queue: &mut dyn DeferralQueue) {
    let first = uncertain(queue, of_key("a")).await;
    let second = enqueue(queue, vec![of_key("a")]).await[0];
    assert!(leased(queue, later(60)).await.is_empty());
    resolve(queue, first.id, Resolution::Done(None), later(61)).await.expect("it is uncertain");
    assert_eq!(leased(queue, later(61)).await, [second]);
}

async fn a_job_of_a_key_that_is_retried_goes_before_the_younger_but_not_beside_them(queue: &mut dyn DeferralQueue) {
    let ids = enqueue(queue, vec![of_key("a"), of_key("a"), of_key("a")]).await;
    let first = lease(queue, NOW).await.remove(0);
    report(queue, first.id, first.token, Verdict::Failed("no".to_owned()), NOW).await;
    let second = lease(queue, NOW).await.remove(0);
    assert_eq!(second.id, ids[1]);
    retry(queue, ids[0], NOW).await.expect("it failed");
    assert!(leased(queue, NOW).await.is_empty(), "the second is under way");
    done(queue, &second, NOW).await;
    assert_eq!(leased(queue, NOW).await, [ids[0]]);
    assert!(leased(queue, NOW).await.is_empty());
}

async fn a_done_job_keeps_its_result_and_not_its_arguments(queue: &mut dyn DeferralQueue) {
    let arguments = json!({ "token": "secret" }).as_object().expect("an object").clone();
    enqueue(queue, vec![NewJob { arguments, options: json!({ "a": 1 }), ..job() }]).await;
    let taken = lease(queue, NOW).await.remove(0);
    let answer = json!({ "id": 7, "name": "Zoë" });
    report(queue, taken.id, taken.token, Verdict::Done(answer.clone()), later(1)).await;
    let job = get(queue, taken.id).await;
    assert_eq!((job.state, job.ended, job.result), (State::Done, Some(later(1)), Some(answer)));
    assert_eq!((job.arguments, job.options, job.until), (None, Value::Null, None));
}

async fn a_failed_try_is_made_again_when_it_is_due_until_the_attempts_are_used_up(queue: &mut dyn DeferralQueue) {
    let id = enqueue(queue, vec![NewJob { max_attempts: 2, ..job() }]).await[0];
    for (n, counts_as_attempt, attempts) in [(1, true, 1), (2, false, 1), (3, true, 2)] {
        let (now, due) = (later(10 * n), later(10 * (n + 1)));
        let taken = lease(queue, now).await.remove(0);
        assert!(taken.attempts <= 2);
        report(queue, id, taken.token, Verdict::Again { due, why: "refused".to_owned(), counts_as_attempt }, now).await;
        assert_eq!(get(queue, id).await.attempts, attempts);
        assert!(leased(queue, due.before(Duration::from_millis(1))).await.is_empty(), "it is not due");
    }
    let job = get(queue, id).await;
    assert_eq!(job.state, State::Dead);
    assert!(job.error.expect("a reason").contains("2 attempts: refused"));
}

async fn a_lease_that_ends_makes_the_repeatable_pending_and_the_others_uncertain(queue: &mut dyn DeferralQueue) {
    let last = NewJob { max_attempts: 1, ..repeatable() };
    let ids = enqueue(queue, vec![repeatable(), job(), last]).await;
    lease(queue, NOW).await;
    assert!(recover(queue, NOW.after(LEASE).before(Duration::from_millis(1))).await.is_empty());
    let recovered = recover(queue, NOW.after(LEASE)).await;
    let expected = Recovered { again: vec![ids[0]], uncertain: vec![ids[1]], dead: vec![ids[2]] };
    assert_eq!(recovered, expected);
    assert_eq!(get(queue, ids[0]).await.attempts, 1, "the try counts");
    assert_eq!(leased(queue, later(40)).await, [ids[0]], "the uncertain never runs by itself");
}

async fn what_the_service_has_taken_on_is_kept_and_is_pending_whatever_becomes_of_a_lease(
    queue: &mut dyn DeferralQueue,
) {
    let known = NewJob { accepted: Some("task-1".to_owned()), ..job() };
    let ids = enqueue(queue, vec![known, job()]).await;
    let taken = lease(queue, NOW).await;
    assert_eq!(taken[0].accepted.as_deref(), Some("task-1"), "whoever leases it asks, and starts nothing");
    let verdict = Verdict::Accepted { token: "task-2".to_owned(), due: later(10), why: None };
    let reported = report(queue, ids[1], taken[1].token, verdict, NOW).await;
    assert_eq!(reported, Reported::Accepted(State::Pending));
    assert_eq!(leased(queue, later(9)).await, []);
    assert_eq!(leased(queue, later(10)).await, [ids[1]]);
    assert_eq!(recover(queue, later(40)).await.again, ids);
    let job = get(queue, ids[1]).await;
    assert_eq!((job.state, job.attempts, job.accepted.as_deref()), (State::Pending, 1, Some("task-2")));
    let expired = recover(queue, later(100_000)).await;
    assert_eq!((expired.uncertain, expired.dead), (ids, Vec::new()), "each may have been done");
}

async fn a_renewed_lease_goes_on_and_a_lost_one_is_named(queue: &mut dyn DeferralQueue) {
    let ids = enqueue(queue, vec![job(), job()]).await;
    let taken = lease(queue, NOW).await;
    done(queue, &taken[1], NOW).await;
    let held = taken.iter().map(|job| (job.id, job.token)).collect();
    let renewed = change(queue, Change::Renew { held, lease: LEASE, now: later(20) }).await;
    assert_eq!(renewed.expect("it can be stored"), Answer::Renewed(vec![ids[1]]));
    assert!(recover(queue, later(49)).await.is_empty());
    assert_eq!(recover(queue, later(50)).await.uncertain, [ids[0]]);
}

async fn a_verdict_that_comes_late_counts_and_one_of_an_older_lease_does_not(queue: &mut dyn DeferralQueue) {
    let slow = uncertain(queue, job()).await;
    done(queue, &slow, later(70)).await;
    let id = enqueue(queue, vec![repeatable()]).await[0];
    let first = lease(queue, NOW).await.remove(0);
    recover(queue, later(60)).await;
    let second = lease(queue, later(61)).await.remove(0);
    let before = get(queue, id).await;
    let refused = report(queue, id, first.token, Verdict::Done(json!(1)), later(62)).await;
    assert_eq!(refused, Reported::Refused(State::Leased));
    assert_eq!(get(queue, id).await, before);
    done(queue, &second, later(62)).await;
    let again = report(queue, id, second.token, Verdict::Failed("no".to_owned()), later(63)).await;
    assert_eq!(again, Reported::Refused(State::Done), "a lease has one verdict");
}

async fn a_verdict_about_a_job_that_is_not_there_is_an_error(queue: &mut dyn DeferralQueue) {
    let id = job().id;
    let report = Change::Report { id, token: Token(1), verdict: Verdict::Done(Value::Null), now: NOW };
    let missing = change(queue, report).await;
    assert!(matches!(missing, Err(QueueError::Missing(missing)) if missing == id), "{missing:?}");
}

async fn what_is_past_its_time_is_given_up_and_not_leased(queue: &mut dyn DeferralQueue) {
    let id = enqueue(queue, vec![NewJob { expires: later(10), ..job() }]).await[0];
    assert!(leased(queue, later(10)).await.is_empty());
    assert_eq!(recover(queue, later(10)).await.dead, [id]);
    let job = get(queue, id).await;
    assert_eq!((job.state, job.ended), (State::Dead, Some(later(10))));
    assert!(job.error.expect("a reason").contains("expired"));
}

async fn only_a_pending_job_is_cancelled(queue: &mut dyn DeferralQueue) {
    let ids = enqueue(queue, vec![of_key("a"), of_key("a"), job()]).await;
    let cancel = |id| Change::Cancel { id, note: note(), now: later(1) };
    match change(queue, cancel(ids[0])).await {
        Ok(Answer::Changed(job)) => {
            assert_eq!((job.id, job.state), (ids[0], State::Dead));
            assert_eq!(job.resolved.expect("a note"), "cancelled by anna: looked in the CRM");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(leased(queue, NOW).await, ids[1..], "those behind it go on");
    assert!(refused_for(&change(queue, cancel(ids[2])).await, State::Leased));
    let unknown = change(queue, cancel(job().id)).await;
    assert!(matches!(unknown, Err(QueueError::Missing(_))), "{unknown:?}");
}

async fn what_failed_or_was_given_up_is_retried_and_the_uncertain_is_not(queue: &mut dyn DeferralQueue) {
    let arguments = json!({ "id": 7 }).as_object().expect("an object").clone();
    let jobs = vec![NewJob { arguments: arguments.clone(), expires: later(100), ..job() }, repeatable()];
    let ids = enqueue(queue, jobs).await;
    let taken = lease(queue, NOW).await;
    report(queue, ids[0], taken[0].token, Verdict::Failed("no".to_owned()), NOW).await;
    retry(queue, ids[0], later(200)).await.expect("it failed");
    let again = get(queue, ids[0]).await;
    assert_eq!((again.state, again.attempts, again.ended), (State::Pending, 0, None));
    assert_eq!(again.arguments, Some(arguments), "there is something to make the call with");
    assert_eq!(leased(queue, later(200)).await, [ids[0]], "it has time again");
    assert!(refused_for(&retry(queue, ids[1], NOW).await, State::Leased));
    recover(queue, later(300)).await;
    let refused = retry(queue, ids[0], later(300)).await;
    assert!(refused_for(&refused, State::Uncertain));
    assert!(refused.expect_err("refused").to_string().contains("resolve"));
}

async fn a_person_resolves_what_is_uncertain_and_nothing_else(queue: &mut dyn DeferralQueue) {
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(uncertain(queue, job()).await.id);
    }
    resolve(queue, ids[0], Resolution::Done(Some(json!(7))), later(61)).await.expect("it is uncertain");
    resolve(queue, ids[1], Resolution::Failed, later(61)).await.expect("it is uncertain");
    resolve(queue, ids[2], Resolution::Again, later(61)).await.expect("it is uncertain");
    let first = get(queue, ids[0]).await;
    assert_eq!((first.state, first.result, first.ended), (State::Done, Some(json!(7)), Some(later(61))));
    assert!(first.resolved.expect("a note").contains("anna: looked in the CRM"));
    assert_eq!(state(queue, ids[1]).await, State::Failed);
    assert_eq!(leased(queue, later(61)).await, [ids[2]]);
    assert!(refused_for(&resolve(queue, ids[0], Resolution::Failed, later(62)).await, State::Done));
}

async fn the_next_moment_is_the_earliest_of_due_lease_and_expiry(queue: &mut dyn DeferralQueue) {
    let key = Some("a".to_owned());
    let jobs = vec![
        NewJob { due: later(50), expires: later(1000), order_key: key.clone(), ..job() },
        NewJob { due: later(10), expires: later(1000), order_key: key, ..job() },
        NewJob { due: later(40), expires: later(900), service: "billing".to_owned(), ..job() },
    ];
    enqueue(queue, jobs).await;
    let all = Wanted::default();
    let others = Wanted { without: vec!["billing".to_owned()], ..Wanted::default() };
    assert_eq!(queue.next_due(&all).await.expect("it can be read"), Some(later(40)), "not what waits for its key");
    assert_eq!(queue.next_due(&others).await.expect("it can be read"), Some(later(50)));
    lease(queue, later(40)).await;
    assert_eq!(queue.next_due(&others).await.expect("it can be read"), Some(later(50)), "a lease ends at 70");
    lease(queue, later(50)).await;
    assert_eq!(queue.next_due(&all).await.expect("it can be read"), Some(later(40).after(LEASE)));
    recover(queue, later(500)).await;
    assert_eq!(queue.next_due(&all).await.expect("it can be read"), Some(later(1000)), "one is held up, and expires");
}

async fn a_refused_change_leaves_the_others_of_its_group_alone(queue: &mut dyn DeferralQueue) {
    let (first, second) = (job(), job());
    let group = [
        Change::Enqueue { jobs: vec![first.clone()], max_pending: 2 },
        Change::Enqueue { jobs: vec![job(), job()], max_pending: 2 },
        Change::Cancel { id: job().id, note: note(), now: NOW },
        Change::Enqueue { jobs: vec![second.clone()], max_pending: 2 },
    ];
    let answers = queue.apply(&group).await.expect("the queue can be written");
    assert!(answers[0].is_ok() && answers[3].is_ok(), "{answers:?}");
    assert!(matches!(answers[1], Err(QueueError::Full { .. })), "{answers:?}");
    assert!(matches!(answers[2], Err(QueueError::Missing(_))), "{answers:?}");
    assert_eq!(leased(queue, NOW).await, [first.id, second.id]);
}

async fn jobs_are_listed_newest_first_and_by_state_service_and_number(queue: &mut dyn DeferralQueue) {
    let billing = NewJob { service: "billing".to_owned(), due: later(10), ..job() };
    let ids = enqueue(queue, vec![job(), billing, job()]).await;
    lease(queue, NOW).await;
    let mut list = async |filter: Filter, limit| -> Vec<JobId> {
        queue.list(&filter, limit).await.expect("it can be read").into_iter().map(|job| job.id).collect()
    };
    assert_eq!(list(Filter::default(), 2).await, [ids[2], ids[1]]);
    let leased = Filter { state: Some(State::Leased), ..Filter::default() };
    assert_eq!(list(leased, 10).await, [ids[2], ids[0]]);
    let billing = Filter { service: Some("billing".to_owned()), ..Filter::default() };
    assert_eq!(list(billing, 10).await, [ids[1]]);
    let number = ids[0].to_string();
    assert_eq!(list(Filter { prefix: Some(number.clone()), ..Filter::default() }, 10).await, [ids[0]]);
    let shared = Filter { prefix: Some(number[..8].to_owned()), ..Filter::default() };
    assert_eq!(list(shared, 10).await.len(), 3, "made in one millisecond");
    assert!(list(Filter { prefix: Some("ffff".to_owned()), ..Filter::default() }, 10).await.is_empty());
}

async fn pruning_takes_what_ended_before_and_nothing_that_did_not_end(queue: &mut dyn DeferralQueue) {
    let kept = uncertain(queue, job()).await.id;
    let ids = enqueue(queue, vec![job(), job(), NewJob { due: later(500), ..job() }]).await;
    let taken = lease(queue, NOW).await;
    done(queue, &taken[0], later(100)).await;
    report(queue, ids[1], taken[1].token, Verdict::Failed("no".to_owned()), later(200)).await;
    let pruned = change(queue, Change::Prune { before: later(200) }).await.expect("it can be stored");
    assert_eq!(pruned, Answer::Pruned(1));
    assert_eq!(queue.get(ids[0]).await.expect("it can be read"), None);
    let left = queue.list(&Filter::default(), 10).await.expect("it can be read");
    assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [ids[2], ids[1], kept]);
    let counts = queue.counts().await.expect("it can be counted");
    let counted = [State::Done, State::Failed, State::Pending, State::Uncertain].map(|state| counts.of(state));
    assert_eq!(counted, [0, 1, 1, 1]);
}
