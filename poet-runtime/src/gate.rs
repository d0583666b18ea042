//! The places of one operation: how many attempts are under way at once, and the calls that wait for a place.
//!
//! A place is taken and given back with one atomic each; the line is locked only where somebody waits. The next place
//! is handed to whoever is first in line, so nobody who comes later can take it before.

use crate::lock::lock;
use crate::policy::limit::{Ask, Line, kept};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The places of one operation.
#[derive(Debug)]
pub(crate) struct Gate {
    under_way: AtomicU32,
    /// The length of the line. Read without its lock by who leaves, so every access is ordered with `under_way`: either
    /// who joins the line sees the place that was given back, or who gave it back sees the line.
    waiting: AtomicU32,
    /// Nanoseconds for which a place is kept on average; 0: not known yet.
    held: AtomicU64,
    line: Mutex<Line<Waiter>>,
}

#[derive(Debug)]
struct Waiter {
    limit: u32,
    gate: Arc<Gate>,
    turn: oneshot::Sender<Grant>,
}

/// A place that is handed over. Dropped on the way, it goes to the next.
#[derive(Debug)]
pub(crate) struct Grant(Option<Arc<Gate>>);

/// What becomes of a call that asks for a place.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It has one, as the so many-th under way.
    In(u32),
    /// It waits for its turn.
    Wait(oneshot::Receiver<Grant>),
    /// It would be too late, or the line has no end; so many wait.
    Full(u32),
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    gate: &'a Gate,
    under_way: u32,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            under_way: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            held: AtomicU64::new(0),
            line: Mutex::new(Line::new()),
        }
    }

    /// Takes a place if there is one for a call that asks now, or lets it wait for one.
    #[inline]
    pub(crate) fn enter(self: &Arc<Self>, ask: &Ask, now: Instant) -> Entry {
        if self.waiting.load(Ordering::SeqCst) == 0
            && let Some(under_way) = self.take(ask.limit)
        {
            return Entry::In(under_way);
        }
        self.wait(ask, now)
    }

    /// Takes a place whether there is one or not.
    pub(crate) fn enter_anyway(&self) -> u32 {
        self.under_way.fetch_add(1, Ordering::SeqCst).saturating_add(1)
    }

    /// A place that nobody waits for, if there is one.
    pub(crate) fn spare(&self, limit: u32) -> Option<Place<'_>> {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            return None;
        }
        self.take(limit).map(|under_way| self.place(under_way))
    }

    /// The place of a call that was let in as the so many-th.
    pub(crate) fn place(&self, under_way: u32) -> Place<'_> {
        Place { gate: self, under_way }
    }

    /// The place that was handed over.
    pub(crate) fn granted(&self, mut grant: Grant) -> Place<'_> {
        grant.0 = None;
        self.place(self.under_way.load(Ordering::Relaxed))
    }

    #[inline]
    fn take(&self, limit: u32) -> Option<u32> {
        let one_more = |under_way| (under_way < limit).then(|| under_way + 1);
        self.under_way.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more).ok().map(|before| before + 1)
    }

    #[cold]
    fn wait(self: &Arc<Self>, ask: &Ask, now: Instant) -> Entry {
        let mut line = lock(&self.line);
        // Before it looks for a place, so that nobody who leaves from here on overlooks it.
        self.waiting.store(line.len() as u32 + 1, Ordering::SeqCst);
        self.serve(&mut line);
        let entry = if line.len() == 0
            && let Some(under_way) = self.take(ask.limit)
        {
            Entry::In(under_way)
        } else {
            self.join(&mut line, ask, now)
        };
        self.waiting.store(line.len() as u32, Ordering::SeqCst);
        entry
    }

    fn join(self: &Arc<Self>, line: &mut Line<Waiter>, ask: &Ask, now: Instant) -> Entry {
        let held = Some(self.held.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0).map(Duration::from_nanos);
        if !line.admits(ask, held, now) {
            line.retain(|waiter| !waiter.turn.is_closed());
            if !line.admits(ask, held, now) {
                return Entry::Full(line.len() as u32);
            }
        }
        let (turn, wait) = oneshot::channel();
        line.push(ask.priority, Waiter { limit: ask.limit, gate: self.clone(), turn });
        Entry::Wait(wait)
    }

    fn leave(&self) {
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            let mut line = lock(&self.line);
            self.serve(&mut line);
            self.waiting.store(line.len() as u32, Ordering::SeqCst);
        }
    }

    /// Gives places to those in front, as long as there are any.
    fn serve(&self, line: &mut Line<Waiter>) {
        while let Some(front) = line.front() {
            let gone = front.turn.is_closed();
            if !gone && self.take(front.limit).is_none() {
                return;
            }
            let Some(Waiter { gate, turn, .. }) = line.pop() else { return };
            if gone {
                continue;
            }
            // Who left at this very moment had it for no time.
            if let Err(mut grant) = turn.send(Grant(Some(gate))) {
                grant.0 = None;
                self.under_way.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }
}

impl Place<'_> {
    /// How many were under way when it was taken, itself included.
    pub(crate) fn under_way(&self) -> u32 {
        self.under_way
    }

    /// Gives it back after it was kept for `held`.
    pub(crate) fn give_back(self, held: Duration) {
        let before = Some(self.gate.held.load(Ordering::Relaxed)).filter(|nanos| *nanos > 0);
        let nanos = kept(before.map(Duration::from_nanos), held).as_nanos();
        // Two who leave at once may lose one of their times; it is an average.
        self.gate.held.store(u64::try_from(nanos).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::Priority;

    fn ask(limit: u32) -> Ask {
        Ask { limit, priority: Priority::Normal, deadline: Instant::now() + Duration::from_secs(30) }
    }

    fn enter(gate: &Arc<Gate>, limit: u32) -> Entry {
        gate.enter(&ask(limit), Instant::now())
    }

    fn place(gate: &Arc<Gate>, limit: u32) -> Place<'_> {
        let Entry::In(under_way) = enter(gate, limit) else { panic!("no place") };
        gate.place(under_way)
    }

    fn wait(gate: &Arc<Gate>, limit: u32) -> oneshot::Receiver<Grant> {
        let Entry::Wait(wait) = enter(gate, limit) else { panic!("it need not wait") };
        wait
    }

    #[test]
    fn a_place_that_is_given_back_goes_to_who_waited_and_not_to_who_comes_next() {
        let gate = Arc::new(Gate::new());
        let first = place(&gate, 1);
        let mut waits = wait(&gate, 1);
        assert!(waits.try_recv().is_err());
        drop(first);
        let mut comes_next = wait(&gate, 1);
        let second = gate.granted(waits.try_recv().unwrap());
        assert!(comes_next.try_recv().is_err());
        drop(second);
        drop(gate.granted(comes_next.try_recv().unwrap()));
        assert_eq!(gate.under_way.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn whoever_stops_waiting_takes_no_place_along() {
        let gate = Arc::new(Gate::new());
        let first = place(&gate, 1);
        // One leaves before its turn, one after it was given its turn and before it noticed.
        let (gone, noticed_nothing, mut last) = (wait(&gate, 1), wait(&gate, 1), wait(&gate, 1));
        drop(gone);
        drop(first);
        assert!(last.try_recv().is_err());
        drop(noticed_nothing);
        drop(gate.granted(last.try_recv().unwrap()));
        assert_eq!(gate.under_way.load(Ordering::SeqCst), 0);
        drop(place(&gate, 1));
    }

    #[test]
    fn a_limit_that_is_lowered_is_kept_by_who_comes_from_then_on() {
        let gate = Arc::new(Gate::new());
        let places: Vec<_> = (0..4).map(|_| place(&gate, 4)).collect();
        let mut waits = wait(&gate, 2);
        let mut places = places.into_iter();
        drop((places.next(), places.next()));
        assert!(waits.try_recv().is_err(), "two are under way, and two is the limit now");
        drop(places.next());
        drop(gate.granted(waits.try_recv().unwrap()));
        drop(place(&gate, 8));
    }

    #[test]
    fn many_threads_never_pass_the_limit_and_leave_no_place_taken() {
        let gate = Arc::new(Gate::new());
        let most = Arc::new(AtomicU32::new(0));
        let inside = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (gate, most, inside) = (gate.clone(), most.clone(), inside.clone());
                std::thread::spawn(move || {
                    for round in 0..2_000 {
                        let place = match enter(&gate, 3) {
                            Entry::In(under_way) => gate.place(under_way),
                            Entry::Wait(_) if round % 7 == 0 => continue,
                            Entry::Wait(wait) => gate.granted(wait.blocking_recv().unwrap()),
                            Entry::Full(waiting) => panic!("{waiting} wait"),
                        };
                        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::hint::spin_loop();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(most.load(Ordering::SeqCst) <= 3);
        assert_eq!(gate.under_way.load(Ordering::SeqCst), 0);
        drop(place(&gate, 1));
    }
}
