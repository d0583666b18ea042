//! Jobs under way in one worker: leases those that are due, makes their calls as ordinary ones, and says what came of
//! each.
//!
//! A lease means that the call may have been started, so no more is leased than is started at once; what turns out to
//! have to wait is given back before anything is sent. Each job is a task of its own, so that a panic in one caller is
//! the end of that job only.

use super::desk::Desk;
use super::form;
use super::job::{Job, JobId, State, Token, Verdict};
use super::queue::{QueueError, Reported, Wanted};
use super::verdict::{Moment, broken_off, hear, judge, put_back};
use crate::audit::Origin;
use crate::clock::Wall;
use crate::error::{Error, Kind};
use crate::outcome::{Class, Ending};
use crate::pipeline::request::{ask, invalidate, make, obstacle, record, told};
use crate::pipeline::service::{Caller, Request};
use crate::profile::Profile;
use crate::runtime::Runtime;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::{Id, JoinError, JoinSet};

/// Services that a worker may find that it cannot call.
const MAX_STRANGE: usize = 1_000;

/// What a worker did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Worked {
    /// Jobs whose service did what was asked.
    pub done: u64,
    /// Jobs that failed for good.
    pub failed: u64,
    /// Jobs that were given up: expired, or out of attempts.
    pub dead: u64,
    /// Jobs of which a person has to find out whether they were executed.
    pub uncertain: u64,
    /// Tries that ended with the job waiting again.
    pub again: u64,
}

impl Worked {
    fn count(&mut self, state: State) {
        *match state {
            State::Done => &mut self.done,
            State::Failed => &mut self.failed,
            State::Dead => &mut self.dead,
            State::Uncertain => &mut self.uncertain,
            State::Pending | State::Leased => &mut self.again,
        } += 1;
    }

    /// Tries in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.done + self.failed + self.dead + self.uncertain + self.again
    }
}

/// What came of the task of a job.
enum End {
    /// The queue was told, and this is the job's state now; `None` where it was told in vain.
    Told(Option<State>),
    /// Its service is not one that this process can call.
    Strange,
}

/// How many jobs of an operation are made as one call; `None` where each is made by itself.
fn made_together(runtime: &Runtime, job: &Job) -> Option<usize> {
    let tool = runtime.config().services.get(&job.service)?.tools.get(&job.operation)?;
    let bulk = &tool.batch.as_ref()?.tool;
    let default = || runtime.0.deferral.profile(&job.profile).map(|profile| profile.batch_max_size);
    let most = runtime.values(&job.service, bulk).map(|values| values.batch_max_size).or_else(default)?;
    Some(most as usize)
}

/// The end of the task of a job.
pub(super) struct Ended(Result<(Id, End), JoinError>);

pub(super) struct Shift {
    worker: String,
    desk: Arc<Desk>,
    tasks: JoinSet<End>,
    jobs: HashMap<Id, Job>,
    /// Services that are not configured in this process.
    strange: Vec<String>,
    pub(super) worked: Worked,
    renew_at: Instant,
}

impl Shift {
    pub(super) fn new(desk: Arc<Desk>, worker: String) -> Self {
        let renew_at = desk.monotonic() + desk.config.lease / 3;
        Self {
            worker,
            desk,
            tasks: JoinSet::new(),
            jobs: HashMap::new(),
            strange: Vec::new(),
            worked: Worked::default(),
            renew_at,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What this worker can make, of the profiles that are known in the process.
    pub(super) fn wanted(&self, runtime: &Runtime) -> Wanted {
        let profiles = runtime.0.deferral.profiles().into_iter().map(|profile| profile.name.to_owned()).collect();
        Wanted { profiles: Some(profiles), without: self.strange.clone() }
    }

    /// Settles what was left behind by others, and gives up what is past its time.
    pub(super) async fn recover(&mut self) -> Result<(), QueueError> {
        // By a wall clock that was put forward, or one that went on while the machine slept, the leases of what is
        // under way here have ended; nobody knows better that they have not.
        self.renew_all().await?;
        let recovered = self.desk.keeper()?.recover(self.desk.now()).await?;
        self.worked.dead += recovered.dead.len() as u64;
        self.worked.uncertain += recovered.uncertain.len() as u64;
        for id in &recovered.uncertain {
            tracing::warn!(job = %id, "a worker left this job behind; whether it was executed is for a person to find out");
        }
        for id in recovered.again.into_iter().chain(recovered.uncertain).chain(recovered.dead) {
            self.desk.tell(id);
        }
        Ok(())
    }

    /// Leases as many jobs as there is room for, and starts them.
    pub(super) async fn fill(&mut self, runtime: &Runtime) -> Result<(), QueueError> {
        let room = self.room(runtime);
        if room == 0 {
            return Ok(());
        }
        let (wanted, lease) = (self.wanted(runtime), self.desk.config.lease);
        let jobs = self.desk.keeper()?.lease(&self.worker, &wanted, room, lease, self.desk.now()).await?;
        for job in jobs {
            self.start(runtime, job);
        }
        Ok(())
    }

    /// How many calls are under way: jobs that are made together are one.
    fn calls(&self, runtime: &Runtime) -> usize {
        let mut operations = HashMap::<(&str, &str), (&Job, usize)>::new();
        for job in self.jobs.values() {
            operations.entry((&job.service, &job.operation)).or_insert((job, 0)).1 += 1;
        }
        let calls = |(job, jobs): (&Job, usize)| jobs.div_ceil(made_together(runtime, job).unwrap_or(1).max(1));
        operations.into_values().map(calls).sum()
    }

    /// How many more jobs may be under way.
    pub(super) fn room(&self, runtime: &Runtime) -> usize {
        self.desk.config.concurrency.max(1).saturating_sub(self.calls(runtime))
    }

    /// Starts a job, or gives it back where its service is to be left alone.
    fn start(&mut self, runtime: &Runtime, job: Job) {
        let Some(profile) = runtime.0.deferral.profile(&job.profile) else {
            unreachable!("only jobs of known profiles are leased")
        };
        let now = self.desk.now();
        let (desk, held) = (self.desk.clone(), job.clone());
        let back = |due, why| put_back(&held, due, why);
        let put_back = if job.until.is_none_or(|until| until <= now) {
            // This process stood still, and others have drawn their conclusions: it may be making it a second time.
            Some(back(job.due, "its lease had ended before it was started".to_owned()))
        } else {
            let obstacle = obstacle(runtime, &form::request(&job, profile), job.priority, Duration::ZERO);
            obstacle.map(|(reason, due)| back(due, format!("put off again: {}", reason.as_str())))
        };
        let task = if let Some(verdict) = put_back {
            // One task for each here too: what many say at once is stored with one write.
            self.tasks.spawn(async move { End::Told(report(&desk, &job, verdict).await) })
        } else {
            let counter = self.desk.counter();
            let values = runtime.values(&job.service, &job.operation);
            let open_for = values.map_or(profile.open_for, |values| values.open_for);
            let backoff = runtime.config().queue.backoff;
            let moment = Moment { now, seed: runtime.0.seed, counter, backoff, open_for };
            let runtime = runtime.clone();
            self.tasks.spawn(async move { run(&runtime, &desk, &job, profile, moment).await })
        };
        self.jobs.insert(task.id(), held);
    }

    /// Waits for the end of one of the jobs under way. Dropped before, it has missed nothing.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.tasks.join_next_with_id().await {
            Some(end) => Ended(end),
            None => std::future::pending().await,
        }
    }

    /// Takes in the end of a job, and of all that have ended meanwhile: the room of all is filled with one lease.
    pub(super) async fn settle(&mut self, Ended(end): Ended) {
        let mut next = Some(end);
        while let Some(end) = next {
            self.take_in(end).await;
            next = self.tasks.try_join_next_with_id();
        }
    }

    async fn take_in(&mut self, end: Result<(Id, End), JoinError>) {
        match end {
            Ok((id, End::Told(state))) => {
                self.jobs.remove(&id);
                if let Some(state) = state {
                    self.worked.count(state);
                }
            }
            Ok((id, End::Strange)) => {
                let service = self.jobs.remove(&id).map(|job| job.service).unwrap_or_default();
                tracing::warn!(service, "jobs of this service are left to other processes: it is not configured here");
                if self.strange.len() < MAX_STRANGE && !self.strange.contains(&service) {
                    self.strange.push(service);
                }
                self.worked.again += 1;
            }
            Err(error) => {
                if let Some(job) = self.jobs.remove(&error.id()) {
                    let verdict = broken_off(&job, words(error), self.desk.now(), false);
                    self.tell(&job, verdict).await;
                }
            }
        }
    }

    /// Renews the leases of what is under way, when it is time to.
    pub(super) async fn renew(&mut self) -> Result<(), QueueError> {
        if self.desk.monotonic() < self.renew_at {
            return Ok(());
        }
        self.renew_all().await
    }

    async fn renew_all(&mut self) -> Result<(), QueueError> {
        self.renew_at = self.desk.monotonic() + self.desk.config.lease / 3;
        let held: Vec<(JobId, Token)> = self.jobs.values().map(|job| (job.id, job.token)).collect();
        if held.is_empty() {
            return Ok(());
        }
        for id in self.desk.keeper()?.renew(held, self.desk.config.lease, self.desk.now()).await? {
            tracing::warn!(job = %id, "the lease of this job has ended while it was under way");
        }
        Ok(())
    }

    /// When the leases are to be renewed next.
    pub(super) fn renew_in(&self) -> Duration {
        if self.is_idle() {
            return Duration::MAX;
        }
        self.renew_at.saturating_duration_since(self.desk.monotonic())
    }

    /// Lets what is under way end until then, and says of the rest that it was broken off.
    pub(super) async fn finish(mut self, until: Instant) -> Worked {
        while !self.is_idle() {
            let renew_at = self.renew_at;
            tokio::select! {
                biased;
                ended = self.ended() => self.settle(ended).await,
                () = tokio::time::sleep_until(until.into()) => break,
                () = tokio::time::sleep_until(renew_at.into()) => {
                    if let Err(error) = self.renew().await {
                        tracing::warn!(%error, "leases could not be renewed");
                    }
                }
            }
        }
        self.tasks.abort_all();
        while let Some(end) = self.tasks.join_next_with_id().await {
            match end {
                Ok((id, _)) => drop(self.jobs.remove(&id)),
                Err(error) => {
                    if let Some(job) = self.jobs.remove(&error.id()) {
                        let why = "its worker was shut down before there was an answer".to_owned();
                        let verdict = broken_off(&job, why, self.desk.now(), true);
                        self.tell(&job, verdict).await;
                    }
                }
            }
        }
        self.worked
    }

    async fn tell(&mut self, job: &Job, verdict: Verdict) {
        if let Some(state) = report(&self.desk, job, verdict).await {
            self.worked.count(state);
        }
    }
}

/// Makes the call of a job and says what came of it.
async fn run(runtime: &Runtime, desk: &Arc<Desk>, job: &Job, profile: &'static Profile, moment: Moment) -> End {
    let find = profile.caller.expect("only profiles that find callers are known to the queue");
    let caller = match find(runtime, &job.service) {
        Ok(caller) => caller,
        Err(error) => {
            let why = error.to_string();
            report(desk, job, put_back(job, moment.now, why)).await;
            return End::Strange;
        }
    };
    let began = desk.monotonic();
    let request = form::request(job, profile);
    let origin = Origin { job: job.id.to_string(), execution: job.execution.clone() };
    let verdict = match &job.accepted {
        Some(token) => {
            let news = runtime.as_current(ask(runtime, &request, &caller, token, None)).await;
            let verdict = hear(job, &request, news, Moment { now: desk.now(), ..moment });
            match written_down(runtime, &request, &caller, origin, &verdict).await {
                Ok(()) => {
                    ended(runtime, request, caller, &verdict);
                    verdict
                }
                // It is asked again, so that it ends when that can be written down.
                Err(error) => put_back(job, desk.now().after(moment.backoff), error.to_string()),
            }
        }
        None => {
            let result = runtime.as_current(make(runtime, request, caller, origin)).await;
            judge(job, &result, Moment { now: desk.now(), ..moment })
        }
    };
    // How long asking took says nothing about how long a job takes.
    if job.accepted.is_none() && matches!(verdict, Verdict::Done(_) | Verdict::Failed(_)) {
        desk.made(job, desk.monotonic().saturating_duration_since(began));
    }
    End::Told(report(desk, job, verdict).await)
}

/// Writes into the audit how the call of a job ended that the service had taken on.
///
/// # Errors
///
/// Where the audit is strict and it cannot be.
async fn written_down(
    runtime: &Runtime,
    request: &Request,
    caller: &Arc<dyn Caller>,
    origin: Origin,
    verdict: &Verdict,
) -> Result<(), Error> {
    let because = |kind, why: &String| Err(Error::new(kind).with_source(Some(why.as_str().into())));
    let result = match verdict {
        Verdict::Done(value) => Ok(value.clone()),
        Verdict::Failed(why) => because(Kind::Service { class: Class::Permanent }, why),
        Verdict::Again { why, .. } => because(Kind::Service { class: Class::Transient }, why),
        Verdict::Uncertain(why) => because(Kind::OutcomeUnknown, why),
        Verdict::Accepted { .. } => return Ok(()),
    };
    told(runtime, request, caller, origin, result).await
}

/// What the call of a job leaves behind that the service has done, or failed to do, after it had taken it on.
fn ended(runtime: &Runtime, request: Request, caller: Arc<dyn Caller>, verdict: &Verdict) {
    let ending = match verdict {
        Verdict::Done(_) => Ending::Done,
        Verdict::Failed(_) | Verdict::Again { .. } => Ending::Failed,
        Verdict::Uncertain(_) => Ending::OutcomeUnknown,
        Verdict::Accepted { .. } => return,
    };
    record(runtime, &request, ending);
    invalidate(runtime, request, caller);
}

/// Says what came of a try, until the queue has heard it; returns what the job is now, if that verdict made it so.
async fn report(desk: &Arc<Desk>, job: &Job, verdict: Verdict) -> Option<State> {
    const TRIES: u32 = 10;
    let mut pause = Duration::from_millis(100);
    for _ in 0..TRIES {
        let keeper = desk.keeper().ok()?;
        match keeper.report(job.id, job.token, verdict.clone(), desk.now()).await {
            Ok(Reported::Accepted(state)) => {
                desk.tell(job.id);
                return Some(state);
            }
            Ok(Reported::Refused(state)) => {
                tracing::warn!(job = %job.id, %state, ?verdict, "what came of this job was told too late");
                return None;
            }
            Err(QueueError::Closed) => break,
            // Not heard, it would be taken for uncertain though it is known what came of it.
            Err(error) => {
                tracing::warn!(job = %job.id, %error, "what came of this job could not be stored; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
        }
    }
    tracing::error!(job = %job.id, ?verdict, "what came of this job was not stored");
    None
}

fn words(error: JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "its task was cancelled".to_owned() };
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("whoever sends its calls panicked: {}", message.unwrap_or("without a word"))
}

/// How long until something is due; nothing less than a moment, so that what cannot be taken is not asked for all the
/// time.
pub(super) fn until(due: Option<Wall>, now: Wall, longest: Duration) -> Duration {
    const MOMENT: Duration = Duration::from_millis(100);
    due.map_or(longest, |due| now.until(due)).clamp(MOMENT, longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Clock;
    use crate::config::{Config, ServiceConfig};
    use crate::defer::{MemoryQueue, NewJob};
    use crate::pipeline::service::{AttemptContext, Failure, Fetched};
    use crate::store::BoxFuture;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PROFILE: Profile = Profile { caller: Some(find), ..Profile::named("scripted") };

    #[derive(Debug, Default)]
    struct Counts(AtomicUsize);

    #[derive(Debug)]
    struct Sends(Arc<Counts>);

    impl Caller for Sends {
        fn attempt<'a>(&'a self, _: &'a Request, _: AttemptContext) -> BoxFuture<'a, Result<Fetched, Failure>> {
            self.0.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(Ok(serde_json::Value::Null.into())))
        }
    }

    fn find(runtime: &Runtime, _: &str) -> Result<Arc<dyn Caller>, Error> {
        Ok(Arc::new(Sends(runtime.extension::<Counts>())))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_started_only_after_its_lease_has_ended_is_not_started() {
        let now = Wall::from_millis(1_800_000_000_000);
        let mut config = Config::default().service(ServiceConfig::named("crm"));
        config.queue.work = false;
        let builder = Runtime::builder().configuration(config).in_memory().queue(MemoryQueue::new());
        let runtime = builder.profile(&PROFILE).clock(Clock::virtual_from(now)).build().unwrap();
        let desk = runtime.0.deferral.desk.clone();
        let job = NewJob::new("scripted", "crm", "update", now);
        let id = job.id;
        desk.put(job).await.unwrap();
        let mut shift = Shift::new(desk.clone(), "slow".to_owned());
        let lease = Duration::from_secs(30);
        let keeper = desk.keeper().unwrap();
        let job = keeper.lease("slow", &Wanted::default(), 1, lease, now).await.unwrap().remove(0);
        // The process stood still; meanwhile somebody found the lease over, and a person says what is to be done.
        tokio::time::sleep(2 * lease).await;
        keeper.recover(desk.now()).await.unwrap();
        shift.start(&runtime, job);
        let ended = shift.ended().await;
        shift.settle(ended).await;
        assert!(shift.is_idle());
        let job = keeper.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempts), (State::Pending, 0), "it is known that it was not sent");
        assert_eq!(runtime.extension::<Counts>().0.load(Ordering::Relaxed), 0);
    }
}
