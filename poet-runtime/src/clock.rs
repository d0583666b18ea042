//! The one file that reads the clock.
//!
//! Everything else is handed a `now`. Monotonic time comes from tokio, so that a paused runtime pauses the whole
//! framework with it; wall time follows through an [`Anchor`], a pair of instants taken together. The call path
//! reads monotonic time only: outcomes are dated later, on the recorder's thread.

use crate::lock::lock;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone, Utc};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

/// Where the framework takes time from.
///
/// # Examples
///
/// ```
/// use poet_runtime::{Clock, Wall};
/// use std::time::Duration;
///
/// let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
/// let anchor = clock.anchor();
/// let later = clock.now() + Duration::from_secs(60);
/// assert!(anchor.wall(later).millis() >= 1_700_000_060_000);
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Virtual(Arc<Mutex<Anchor>>),
}

impl Clock {
    /// The machine's clocks; wall time is read anew for every flush, so that a corrected clock is followed.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// Starts the wall clock at `wall` and lets it follow tokio's (usually paused) time from here on.
    #[must_use]
    pub fn virtual_from(wall: Wall) -> Self {
        Self(Source::Virtual(Arc::new(Mutex::new(Anchor { instant: monotonic(), wall }))))
    }

    /// Corrects a virtual wall clock and all its copies, as a person or a time server corrects that of a machine: it shows
    /// `wall` now and goes on from there. Monotonic time takes no notice. Nothing happens to the machine's own clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::{Clock, Wall};
    ///
    /// let clock = Clock::virtual_from(Wall::from_millis(1_700_000_000_000));
    /// let (copy, before) = (clock.clone(), clock.now());
    /// clock.correct(Wall::from_millis(1_600_000_000_000));
    /// assert!(copy.wall() < Wall::from_millis(1_700_000_000_000) && copy.now() >= before);
    /// ```
    pub fn correct(&self, wall: Wall) {
        if let Source::Virtual(anchor) = &self.0 {
            *lock(anchor) = Anchor { instant: monotonic(), wall };
        }
    }

    /// The monotonic time, which is tokio's.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        monotonic()
    }

    /// The wall time.
    #[must_use]
    pub fn wall(&self) -> Wall {
        self.anchor().wall(self.now())
    }

    /// What translates monotonic time into wall time at this moment.
    #[must_use]
    pub fn anchor(&self) -> Anchor {
        match &self.0 {
            Source::System => Anchor { instant: Instant::now(), wall: Wall::from(SystemTime::now()) },
            Source::Virtual(anchor) => *lock(anchor),
        }
    }

    /// Whether time is virtual, in which case nothing may happen on another thread behind its back.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        matches!(self.0, Source::Virtual(_))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[inline]
fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The moment a duration after another, or one beyond any program's life where the sum could not be waited for.
#[inline]
pub(crate) fn after(moment: Instant, duration: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    moment + duration.min(FAR)
}

/// Real time, whatever tokio's clock does: for waiting on other threads and on the locks of other processes, which
/// virtual time does not move.
pub(crate) fn real() -> Instant {
    Instant::now()
}

/// Sleeps the calling thread; for synchronous functions, which have nothing to await.
pub(crate) fn sleep_blocking(duration: Duration) {
    std::thread::sleep(duration);
}

/// A monotonic and a wall instant read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The monotonic half.
    pub instant: Instant,
    /// The wall half.
    pub wall: Wall,
}

impl Anchor {
    /// The wall time of a monotonic instant, before or after the anchor.
    #[must_use]
    pub fn wall(&self, at: Instant) -> Wall {
        let millis = |d: Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.instant) {
            Some(ahead) => Wall(self.wall.0.saturating_add(millis(ahead))),
            None => Wall(self.wall.0.saturating_sub(millis(self.instant.saturating_duration_since(at)))),
        }
    }
}

/// An instant of wall time: milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Wall(i64);

impl Wall {
    /// From milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole hours since 1970-01-01 UTC: the bucket of history this instant belongs to.
    #[must_use]
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(3_600_000)
    }

    /// This instant moved forward by a duration.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long it is from this instant to a later one; nothing if that is earlier.
    #[must_use]
    pub fn until(self, later: Self) -> Duration {
        Duration::from_millis(u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// This instant moved back by a duration.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<SystemTime> for Wall {
    fn from(time: SystemTime) -> Self {
        Self(DateTime::<Utc>::from(time).timestamp_millis())
    }
}

/// A text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMoment(String);

impl fmt::Display for UnknownMoment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a moment such as 2026-06-10T12:00:00Z, or a date, found `{}`", self.0)
    }
}

impl std::error::Error for UnknownMoment {}

/// Reads what [`Display`](fmt::Display) writes, any other time of RFC 3339, and a date, which stands for its first moment
/// in UTC.
///
/// # Examples
///
/// ```
/// use poet_runtime::Wall;
///
/// let noon: Wall = "2026-06-10T12:00:00+02:00".parse().unwrap();
/// assert_eq!(noon.to_string(), "2026-06-10T10:00:00.000Z");
/// assert_eq!("2026-06-10".parse::<Wall>().unwrap().to_string(), "2026-06-10T00:00:00.000Z");
/// assert!("noon".parse::<Wall>().is_err());
/// ```
impl FromStr for Wall {
    type Err = UnknownMoment;

    fn from_str(text: &str) -> Result<Self, UnknownMoment> {
        let day = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.timestamp_millis());
        moment.or_else(|_| text.parse().map(day)).map(Self).map_err(|_| UnknownMoment(text.to_owned()))
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Utc.timestamp_millis_opt(self.0).single() {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
            None => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn wall_time_follows_paused_time() {
        let clock = Clock::virtual_from(Wall::from_millis(0));
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(clock.anchor().wall(clock.now()), Wall::from_millis(86_400_000));
    }

    #[test]
    fn an_hour_before_the_epoch_is_still_an_hour() {
        assert_eq!(Wall::from_millis(-1).hour(), -1);
    }
}
