//! A queue that forgets everything with the process: for tests, simulations, and where no file can be written.
//!
//! It is also the plainest statement of what a queue does; the one on disk is held to it by the same claims.

use super::job::{Job, JobId, NewJob, State, Token};
use super::queue::{Answer, Change, Counts, DeferralQueue, Filter, MAX_ENDED, QueueError, Recovered, SLICE, Wanted};
use crate::clock::Wall;
use crate::lock::lock;
use crate::store::{BoxFuture, StoreError};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps jobs in memory. A clone is another handle to the same queue, as a second connection would be.
#[derive(Clone, Debug, Default)]
pub struct MemoryQueue(Arc<Mutex<Jobs>>);

/// The jobs, by the order in which they were put there: those that have not ended apart, because they are few and
/// everything a worker asks is about them.
#[derive(Debug, Default)]
struct Jobs {
    live: BTreeMap<u64, Job>,
    ended: BTreeMap<u64, Job>,
    /// Those that have not, of each order key.
    orders: HashMap<String, Order>,
    /// Those that have ended, by when they did.
    by_age: BTreeSet<(Option<Wall>, u64)>,
    numbers: HashMap<JobId, u64>,
    counts: Counts,
    next: u64,
}

/// The jobs of one order key that have not ended.
#[derive(Debug, Default)]
struct Order {
    numbers: BTreeSet<u64>,
    leased: BTreeSet<u64>,
}

impl MemoryQueue {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Jobs {
    fn apply(&mut self, change: &Change) -> Result<Answer, QueueError> {
        match change {
            Change::Enqueue { jobs, max_pending } => self.enqueue(jobs, *max_pending),
            Change::Lease { worker, wanted, limit, lease, now } => {
                Ok(Answer::Leased(self.lease(worker, wanted, *limit, *lease, *now)))
            }
            Change::Renew { held, lease, now } => Ok(Answer::Renewed(self.renew(held, now.after(*lease)))),
            Change::Report { id, token, verdict, now } => {
                Ok(Answer::Reported(self.change(self.number(*id)?, |job| job.reported(*token, verdict, *now))))
            }
            Change::Recover { now } => Ok(Answer::Recovered(self.recover(*now))),
            Change::Cancel { id, note, now } => self.intervene(*id, |job| job.cancel(note, *now)),
            Change::Retry { id, note, now } => self.intervene(*id, |job| job.retry(note, *now)),
            Change::Resolve { id, resolution, note, now } => {
                self.intervene(*id, |job| job.resolve(resolution, note, *now))
            }
            Change::Prune { before } => Ok(Answer::Pruned(self.prune(*before))),
        }
    }

    fn enqueue(&mut self, jobs: &[NewJob], max: u64) -> Result<Answer, QueueError> {
        let new: Vec<_> = jobs.iter().filter(|job| !self.numbers.contains_key(&job.id)).collect();
        let live = self.counts.live();
        if !new.is_empty() && live.saturating_add(new.len() as u64) > max {
            return Err(QueueError::Full { live, max });
        }
        for job in new {
            let job = Job::from(job.clone());
            self.numbers.insert(job.id, self.next);
            self.counts.set(job.state, self.counts.of(job.state) + 1);
            self.come(self.next, job);
            self.next += 1;
        }
        Ok(Answer::Enqueued)
    }

    fn intervene(
        &mut self,
        id: JobId,
        decide: impl FnOnce(&mut Job) -> Result<(), QueueError>,
    ) -> Result<Answer, QueueError> {
        let number = self.number(id)?;
        self.change(number, |job| decide(job).map(|()| Answer::Changed(Box::new(job.clone()))))
    }

    fn number(&self, id: JobId) -> Result<u64, QueueError> {
        self.numbers.get(&id).copied().ok_or(QueueError::Missing(id))
    }

    fn job(&self, id: JobId) -> Option<&Job> {
        let number = self.numbers.get(&id)?;
        self.live.get(number).or_else(|| self.ended.get(number))
    }

    /// Changes a job, and puts it where jobs of its state are.
    fn change<R>(&mut self, number: u64, change: impl FnOnce(&mut Job) -> R) -> R {
        let found = self.leave(number).or_else(|| self.ended.remove(&number));
        let mut job = found.expect("every number has its job");
        self.by_age.remove(&(job.ended, number));
        self.counts.set(job.state, self.counts.of(job.state) - 1);
        let result = change(&mut job);
        self.counts.set(job.state, self.counts.of(job.state) + 1);
        if job.state.has_ended() {
            self.by_age.insert((job.ended, number));
            self.ended.insert(number, job);
        } else {
            self.come(number, job);
        }
        result
    }

    /// Puts a job among those that have not ended.
    fn come(&mut self, number: u64, job: Job) {
        if let Some(key) = &job.order_key {
            let order = self.orders.entry(key.clone()).or_default();
            order.numbers.insert(number);
            if job.state == State::Leased {
                order.leased.insert(number);
            }
        }
        self.live.insert(number, job);
    }

    /// Takes it away from there.
    fn leave(&mut self, number: u64) -> Option<Job> {
        let job = self.live.remove(&number)?;
        if let Some(key) = &job.order_key
            && let Some(order) = self.orders.get_mut(key)
        {
            order.numbers.remove(&number);
            order.leased.remove(&number);
            if order.numbers.is_empty() {
                self.orders.remove(key);
            }
        }
        Some(job)
    }

    /// Whether an older job of its order key has not ended, or any of them is under way.
    fn is_held_up(&self, number: u64, job: &Job) -> bool {
        let order = job.order_key.as_ref().and_then(|key| self.orders.get(key));
        order
            .is_some_and(|order| !order.leased.is_empty() || order.numbers.first().is_some_and(|first| *first < number))
    }

    fn waiting<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = (u64, &'a Job)> {
        self.live.iter().map(|(number, job)| (*number, job)).filter(move |(number, job)| {
            job.state == State::Pending && wanted.includes(&job.profile, &job.service) && !self.is_held_up(*number, job)
        })
    }

    fn lease(&mut self, worker: &str, wanted: &Wanted, limit: usize, lease: Duration, now: Wall) -> Vec<Job> {
        let mut due: Vec<_> = self
            .waiting(wanted)
            .filter(|(_, job)| job.is_due(now))
            .map(|(number, job)| (std::cmp::Reverse(job.priority), job.due, number))
            .collect();
        due.sort_unstable();
        due.truncate(limit);
        let mut lease = |number| {
            self.change(number, |job| {
                job.leased(worker, now.after(lease), now);
                job.clone()
            })
        };
        due.into_iter().map(|(_, _, number)| lease(number)).collect()
    }

    fn renew(&mut self, held: &[(JobId, Token)], until: Wall) -> Vec<JobId> {
        let mut held_no_more = |(id, token): &&(JobId, Token)| match self.number(*id) {
            Ok(number) => !self.change(number, |job| job.renewed(*token, until)),
            Err(_) => true,
        };
        held.iter().filter(|held| held_no_more(held)).map(|(id, _)| *id).collect()
    }

    fn recover(&mut self, now: Wall) -> Recovered {
        let mut recovered = Recovered::default();
        let lapsed = |job: &Job| job.state == State::Leased && job.until.is_none_or(|until| until <= now);
        for number in self.numbers_of(lapsed) {
            let (id, state) = self.change(number, |job| {
                job.lapsed(now);
                (job.id, job.state)
            });
            recovered.add(id, state);
        }
        for number in self.numbers_of(|job| job.state == State::Pending && job.expires <= now) {
            let (id, state) = self.change(number, |job| {
                job.expired(now);
                (job.id, job.state)
            });
            recovered.add(id, state);
        }
        recovered
    }

    /// The first jobs that have not ended and are meant.
    fn numbers_of(&self, is_meant: impl Fn(&Job) -> bool) -> Vec<u64> {
        self.live.iter().filter(|(_, job)| is_meant(job)).map(|(number, _)| *number).take(SLICE).collect()
    }

    fn prune(&mut self, before: Wall) -> u64 {
        let surplus = (self.ended.len() as u64).saturating_sub(MAX_ENDED);
        let old = |(rank, (ended, _)): &(u64, &(Option<Wall>, u64))| *ended < Some(before) || *rank < surplus;
        let gone: Vec<_> = (0..).zip(&self.by_age).take(SLICE).take_while(old).map(|(_, key)| *key).collect();
        for key in &gone {
            self.by_age.remove(key);
            let job = self.ended.remove(&key.1).expect("whatever has an age has ended");
            self.numbers.remove(&job.id);
            self.counts.set(job.state, self.counts.of(job.state) - 1);
        }
        gone.len() as u64
    }

    fn list(&self, filter: &Filter, limit: usize) -> Vec<Job> {
        let meant = |job: &Job| {
            filter.state.is_none_or(|state| job.state == state)
                && filter.service.as_ref().is_none_or(|service| job.service == *service)
                && filter.prefix.as_ref().is_none_or(|prefix| job.id.to_string().starts_with(prefix.as_str()))
        };
        let mut found: Vec<_> = self.live.iter().chain(&self.ended).filter(|(_, job)| meant(job)).collect();
        found.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(**number));
        found.into_iter().take(limit).map(|(_, job)| job.clone()).collect()
    }

    fn next_due(&self, wanted: &Wanted) -> Option<Wall> {
        let due = self.waiting(wanted).map(|(_, job)| job.due);
        let leases = self.live.values().filter_map(|job| job.until);
        let pending = self.live.values().filter(|job| job.state == State::Pending);
        due.chain(leases).chain(pending.map(|job| job.expires)).min()
    }
}

impl DeferralQueue for MemoryQueue {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn apply<'a>(
        &'a mut self,
        changes: &'a [Change],
    ) -> BoxFuture<'a, Result<Vec<Result<Answer, QueueError>>, StoreError>> {
        let mut jobs = lock(&self.0);
        Box::pin(ready(Ok(changes.iter().map(|change| jobs.apply(change)).collect())))
    }

    fn get(&mut self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        Box::pin(ready(Ok(lock(&self.0).job(id).cloned())))
    }

    fn list<'a>(&'a mut self, filter: &'a Filter, limit: usize) -> BoxFuture<'a, Result<Vec<Job>, StoreError>> {
        Box::pin(ready(Ok(lock(&self.0).list(filter, limit))))
    }

    fn counts(&mut self) -> BoxFuture<'_, Result<Counts, StoreError>> {
        Box::pin(ready(Ok(lock(&self.0).counts)))
    }

    fn next_due<'a>(&'a mut self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Option<Wall>, StoreError>> {
        Box::pin(ready(Ok(lock(&self.0).next_due(wanted))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defer::conformance;
    use crate::recorder::block_on::block_on;

    #[test]
    fn it_does_what_any_queue_must() {
        for claim in conformance::ALL {
            println!("{}", claim.name);
            block_on((claim.check)(&mut MemoryQueue::new()));
        }
    }
}
