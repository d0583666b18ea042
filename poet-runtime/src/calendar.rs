//! Hours of the week in a service's own time zone: when it is better left alone, and when that ends.
//!
//! A window is read by the clock on the wall of the service: an hour that the clock skips in spring holds nothing, one
//! that it shows twice in autumn holds twice. A window that passes midnight belongs to the day on which it starts.

use crate::clock::Wall;
use crate::parameter::MonthlyHour;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use std::fmt;
use std::str::FromStr;

/// A stretch of hours that comes again every day, on some days of the week, or on one of them once a month.
///
/// Written as `"12:00-14:00"`, `"mon-fri 12:00-13:30"`, `"sat,sun 22:00-06:00"`, `"first sat 02:00-06:00"`.
///
/// # Examples
///
/// ```
/// use poet_runtime::Wall;
/// use poet_runtime::calendar::{Window, end_of};
///
/// let noon: Window = "mon-fri 12:00-14:00".parse()?;
/// // 2026-06-10 was a Wednesday, and New York four hours behind UTC.
/// let now: Wall = Wall::from_millis(1_781_109_000_000); // 12:30 in New York
/// let end = end_of(&[noon], Some("America/New_York"), now).expect("it is noon there");
/// assert_eq!(end.to_string(), "2026-06-10T18:00:00.000Z");
/// # Ok::<(), poet_runtime::calendar::InvalidWindow>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Bit 0 is Monday.
    days: u8,
    weeks: Weeks,
    /// Minutes after midnight.
    from: u16,
    /// Minutes after midnight; at or below `from` it is the next day's.
    until: u16,
}

/// In which weeks of a month the days are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Weeks {
    Every,
    /// 1 is the first of such days in the month.
    Nth(u8),
    Last,
}

/// What is no [`Window`], and what one looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidWindow(pub(crate) String);

impl fmt::Display for InvalidWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidWindow {}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const WEEKS: [(&str, Weeks); 5] = [
    ("first", Weeks::Nth(1)),
    ("second", Weeks::Nth(2)),
    ("third", Weeks::Nth(3)),
    ("fourth", Weeks::Nth(4)),
    ("last", Weeks::Last),
];
const EVERY_DAY: u8 = 0b111_1111;
const MIDNIGHT: u16 = 24 * 60;

impl FromStr for Window {
    type Err = InvalidWindow;

    fn from_str(written: &str) -> Result<Self, InvalidWindow> {
        let invalid = |what: &str| {
            InvalidWindow(format!(
                "`{written}`: {what}; write hours as `12:00-14:00`, after days as `mon-fri` or `sat,sun`, or after \
                 `first sat` (first, second, third, fourth, last) for once a month"
            ))
        };
        let lower = written.to_lowercase();
        let mut words: Vec<_> = lower.split_whitespace().collect();
        let hours = words.pop().ok_or_else(|| invalid("no hours"))?;
        let weeks = words.first().and_then(|word| WEEKS.iter().find(|(name, _)| name == word)).map(|(_, weeks)| *weeks);
        if weeks.is_some() {
            words.remove(0);
        }
        let days = match words[..] {
            [] if weeks.is_some() => return Err(invalid("no day of the week")),
            [] => EVERY_DAY,
            [days] => read_days(days).map_err(|what| invalid(&what))?,
            [_, more, ..] => return Err(invalid(&format!("found `{more}` after the days"))),
        };
        let (from, until) = hours.split_once('-').ok_or_else(|| invalid(&format!("`{hours}` has no `-`")))?;
        let from = read_time(from)
            .filter(|&minutes| minutes < MIDNIGHT)
            .ok_or_else(|| invalid(&format!("`{from}` is no time from 00:00 to 23:59")))?;
        let until = read_time(until).ok_or_else(|| invalid(&format!("`{until}` is no time from 00:00 to 24:00")))?;
        let window = Self { days, weeks: weeks.unwrap_or(Weeks::Every), from, until };
        if never_end(&[window]) {
            return Err(invalid("it never ends"));
        }
        Ok(window)
    }
}

fn read_days(written: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let named = DAYS.iter().zip(LONG_DAYS).position(|(short, long)| *short == name || long == name);
        named.ok_or_else(|| format!("`{name}` is no day of the week ({})", DAYS.join(", ")))
    };
    let mut days = 0;
    for part in written.split(',') {
        let (first, last) = match part.split_once('-') {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        // `fri-mon` passes the end of the week.
        let length = (last + 7 - first) % 7;
        days |= (first..=first + length).fold(0, |days, day| days | 1 << (day % 7));
    }
    Ok(days)
}

/// Minutes after midnight.
fn read_time(written: &str) -> Option<u16> {
    let (hour, minute) = written.split_once(':')?;
    let number = |digits: &str, length: std::ops::RangeInclusive<usize>| {
        let digital = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| digital && length.contains(&digits.len()))
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= MIDNIGHT).then_some(minutes)
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = WEEKS.iter().find(|(_, weeks)| *weeks == self.weeks) {
            write!(f, "{name} ")?;
        }
        if self.days != EVERY_DAY || self.weeks != Weeks::Every {
            write!(f, "{} ", show_days(self.days))?;
        }
        let Self { from, until, .. } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// Runs of three or more days as `mon-fri`, others one by one.
fn show_days(days: u8) -> String {
    let mut parts = Vec::new();
    let mut day = 0;
    while day < 7 {
        let run = (day..7).take_while(|day| days & (1 << day) != 0).count();
        match run {
            0 => day += 1,
            1 | 2 => {
                parts.push(DAYS[day].to_owned());
                day += 1;
            }
            _ => {
                parts.push(format!("{}-{}", DAYS[day], DAYS[day + run - 1]));
                day += run;
            }
        }
    }
    parts.join(",")
}

impl Window {
    /// When the occurrence that holds at this time on the wall ends, on the same wall.
    fn end_at(&self, local: DateTime) -> Option<DateTime> {
        // It may have started the day before.
        let days = [Some(local.date()), local.date().yesterday().ok()];
        days.into_iter().flatten().filter(|day| self.is_on(*day)).find_map(|day| {
            let (start, end) = (at(day, self.from)?, at(day, self.end_minutes())?);
            (start <= local && local < end).then_some(end)
        })
    }

    /// Minutes after the midnight before it starts.
    fn end_minutes(&self) -> u16 {
        if self.until <= self.from { self.until + MIDNIGHT } else { self.until }
    }

    fn is_on(&self, day: Date) -> bool {
        let week = match self.weeks {
            Weeks::Every => true,
            Weeks::Nth(nth) => (day.day() - 1) / 7 + 1 == i8::try_from(nth).unwrap_or(i8::MAX),
            Weeks::Last => day.day() + 7 > day.days_in_month(),
        };
        week && self.days & (1 << day.weekday().to_monday_zero_offset()) != 0
    }
}

fn at(day: Date, minutes: u16) -> Option<DateTime> {
    let midnight = DateTime::from_parts(day, Time::midnight());
    midnight.checked_add(i64::from(minutes).minutes()).ok()
}

/// Beyond this windows that follow on each other are taken to go on for ever: those that leave no gap in a week and
/// one that a monthly window may close leave none at all.
const FAR: jiff::SignedDuration = jiff::SignedDuration::from_hours(40 * 24);

/// The end of the windows that hold at `now` in an IANA time zone (UTC where `None`).
///
/// Windows that overlap or follow on each other count as one. `None` if none of them holds, if together they
/// [never end](never_end), or if there is no such [time zone](is_timezone): nothing is put off for ever, or to hours
/// that nobody meant.
#[must_use]
pub fn end_of(windows: &[Window], timezone: Option<&str>, now: Wall) -> Option<Wall> {
    if windows.is_empty() {
        return None;
    }
    let zone = match timezone {
        Some(name) => TimeZone::get(name).ok()?,
        None => TimeZone::UTC,
    };
    let began = Timestamp::from_millisecond(now.millis()).ok()?;
    let mut cursor = began;
    while cursor.duration_since(began) < FAR {
        let offset = zone.to_offset(cursor);
        let local = offset.to_datetime(cursor);
        let Some(end) = windows.iter().filter_map(|window| window.end_at(local)).max() else {
            return (cursor > began).then(|| Wall::from_millis(cursor.as_millisecond()));
        };
        let end = offset.to_timestamp(end).ok()?;
        // Where the clock is put forward or back before that, the windows are looked at again.
        let change = zone.following(cursor).next().map(|transition| transition.timestamp());
        cursor = change.filter(|change| *change < end).unwrap_or(end);
    }
    None
}

/// An hour as the clock on the wall of a service shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LocalHour {
    /// Days since the epoch of the wall's own calendar.
    pub(crate) day: i32,
    /// 0 to 23.
    pub(crate) hour: u8,
}

/// Where hours are read: a time zone found once.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

impl Zone {
    /// The IANA time zone, UTC where there is no name; `None` if there is no such zone.
    pub(crate) fn of(name: Option<&str>) -> Option<Self> {
        name.map_or(Some(TimeZone::UTC), |name| TimeZone::get(name).ok()).map(Self)
    }

    /// The local hour at a moment.
    ///
    /// No moment is in an hour that the clock skips; those of both hours that it shows twice are in the one shown.
    pub(crate) fn hour(&self, at: Wall) -> Option<LocalHour> {
        let local = self.0.to_datetime(Timestamp::from_millisecond(at.millis()).ok()?);
        let day = local.date().duration_since(EPOCH).as_hours() / 24;
        Some(LocalHour { day: i32::try_from(day).ok()?, hour: u8::try_from(local.hour()).ok()? })
    }
}

const EPOCH: Date = Date::constant(1970, 1, 1);

/// 0 is Monday.
pub(crate) const fn weekday(day: i32) -> u8 {
    // The first day of the epoch was a Thursday.
    (day + 3).rem_euclid(7) as u8
}

/// The month of a day, counted from year 0, its place among the same days of the week in it, from 1, and whether it is
/// the last of them.
pub(crate) fn place_in_month(day: i32) -> Option<(i32, u8, bool)> {
    let date = EPOCH.checked_add(i64::from(day).days()).ok()?;
    let month = i32::from(date.year()) * 12 + i32::from(date.month()) - 1;
    let nth = u8::try_from((date.day() - 1) / 7 + 1).ok()?;
    Some((month, nth, date.day() + 7 > date.days_in_month()))
}

impl Window {
    /// The windows that learned hours of the day, days of the week and an hour of the month stand for: bit 0 is the
    /// hour after midnight, and Monday.
    pub(crate) fn learned(hours: u32, weekdays: u8, monthly: Option<MonthlyHour>) -> Vec<Self> {
        let hour = |hour: u16| (hour * 60, (hour + 1) * 60 % MIDNIGHT);
        let mut windows = Vec::new();
        for (from, until) in (0..24).filter(|bit| hours & (1 << bit) != 0).map(hour) {
            windows.push(Self { days: EVERY_DAY, weeks: Weeks::Every, from, until });
        }
        if weekdays != 0 {
            windows.push(Self { days: weekdays & EVERY_DAY, weeks: Weeks::Every, from: 0, until: MIDNIGHT });
        }
        if let Some(MonthlyHour { week, weekday, hour: at }) = monthly {
            let weeks = if week >= 5 { Weeks::Last } else { Weeks::Nth(week) };
            let (from, until) = hour(u16::from(at));
            windows.push(Self { days: 1 << (weekday % 7), weeks, from, until });
        }
        windows
    }
}

/// Whether together these windows leave no hour of any week.
#[must_use]
pub fn never_end(windows: &[Window]) -> bool {
    // Any week will do where nothing is monthly; what is monthly leaves the other weeks alone.
    let monday = jiff::civil::date(2026, 1, 5).at(0, 0, 0, 0);
    let weekly: Vec<_> = windows.iter().filter(|window| window.weeks == Weeks::Every).collect();
    let mut cursor = monday;
    while cursor < monday + Span::new().days(7) {
        match weekly.iter().filter_map(|window| window.end_at(cursor)).max() {
            Some(end) => cursor = end,
            None => return false,
        }
    }
    true
}

/// Whether there is an IANA time zone of this name.
#[must_use]
pub fn is_timezone(name: &str) -> bool {
    TimeZone::get(name).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(written: &str) -> Window {
        written.parse().unwrap()
    }

    fn wall(utc: &str) -> Wall {
        Wall::from_millis(utc.parse::<Timestamp>().unwrap().as_millisecond())
    }

    /// The end of windows at a moment, or `-`.
    fn end(windows: &[&str], zone: &str, now: &str) -> String {
        let windows: Vec<_> = windows.iter().map(|written| window(written)).collect();
        end_of(&windows, Some(zone), wall(now))
            .map_or_else(|| "-".to_owned(), |end| end.to_string().replace(".000", ""))
    }

    #[test]
    fn what_is_written_is_shown_again() {
        for (written, shown) in [
            ("12:00-14:00", "12:00-14:00"),
            ("mon-fri 12:00-13:30", "mon-fri 12:00-13:30"),
            ("sat,sun 22:00-06:00", "sat,sun 22:00-06:00"),
            ("first sat 02:00-06:00", "first sat 02:00-06:00"),
            ("last Sunday 2:00-24:00", "last sun 02:00-24:00"),
            ("  MON,tue,WED   9:05-10:00 ", "mon-wed 09:05-10:00"),
            ("fri-mon 00:00-01:00", "mon,fri-sun 00:00-01:00"),
            ("mon-sun 00:00-01:00", "00:00-01:00"),
        ] {
            assert_eq!(window(written).to_string(), shown, "{written}");
            assert_eq!(window(shown), window(written), "{written}");
        }
    }

    #[test]
    fn what_is_no_window_is_told_what_was_found_and_what_is_allowed() {
        for (written, found) in [
            ("", "no hours"),
            ("noon", "`noon` has no `-`"),
            ("25:00-26:00", "`25:00` is no time from 00:00 to 23:59"),
            ("24:00-01:00", "`24:00` is no time from 00:00 to 23:59"),
            ("12:00-14:60", "`14:60` is no time from 00:00 to 24:00"),
            ("12:0-14:00", "`12:0` is no time"),
            ("+1:00-02:00", "`+1:00` is no time"),
            ("fry 12:00-14:00", "`fry` is no day of the week (mon, tue"),
            ("mon- 12:00-14:00", "`` is no day of the week"),
            ("first 12:00-14:00", "no day of the week"),
            ("mon tue 12:00-14:00", "found `tue` after the days"),
            ("00:00-24:00", "it never ends"),
            ("mon-sun 09:00-09:00", "it never ends"),
        ] {
            let error = written.parse::<Window>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{written}`: {found}")), "{error}");
            assert!(error.contains("write hours as `12:00-14:00`"), "{error}");
        }
    }

    #[test]
    fn a_window_holds_from_its_first_minute_to_before_its_last() {
        // New York is four hours behind UTC in June; the 10th of June 2026 is a Wednesday.
        let at = |now| end(&["mon-fri 12:00-14:00"], "America/New_York", now);
        assert_eq!(at("2026-06-10T15:59:59Z"), "-");
        assert_eq!(at("2026-06-10T16:00:00Z"), "2026-06-10T18:00:00Z");
        assert_eq!(at("2026-06-10T17:59:59Z"), "2026-06-10T18:00:00Z");
        assert_eq!(at("2026-06-10T18:00:00Z"), "-");
        assert_eq!(at("2026-06-13T16:30:00Z"), "-", "a Saturday");
    }

    #[test]
    fn a_window_that_passes_midnight_belongs_to_the_day_it_starts_on() {
        let at = |now| end(&["sat 22:00-06:00"], "UTC", now);
        assert_eq!(at("2026-06-13T23:00:00Z"), "2026-06-14T06:00:00Z");
        assert_eq!(at("2026-06-14T05:59:00Z"), "2026-06-14T06:00:00Z", "Sunday morning");
        assert_eq!(at("2026-06-13T05:00:00Z"), "-", "Saturday morning is Friday's night");
        assert_eq!(at("2026-06-14T23:00:00Z"), "-");
    }

    #[test]
    fn windows_that_overlap_or_follow_on_each_other_are_one() {
        let noon = ["12:00-13:00", "13:00-14:00", "13:30-15:00", "16:00-17:00"];
        assert_eq!(end(&noon, "UTC", "2026-06-10T12:10:00Z"), "2026-06-10T15:00:00Z");
        assert_eq!(end(&noon, "UTC", "2026-06-10T15:30:00Z"), "-");
        let weekend = ["fri 18:00-24:00", "sat,sun 00:00-24:00", "mon 00:00-06:00"];
        assert_eq!(end(&weekend, "UTC", "2026-06-12T20:00:00Z"), "2026-06-15T06:00:00Z");
    }

    #[test]
    fn once_a_month_is_the_first_such_day_whatever_its_date() {
        let first = |now| end(&["first sat 02:00-06:00"], "UTC", now);
        assert_eq!(first("2026-06-06T03:00:00Z"), "2026-06-06T06:00:00Z");
        assert_eq!(first("2026-06-13T03:00:00Z"), "-");
        assert_eq!(first("2026-08-01T03:00:00Z"), "2026-08-01T06:00:00Z");
        let last = |now| end(&["last sun 22:00-02:00"], "UTC", now);
        assert_eq!(last("2026-05-31T23:00:00Z"), "2026-06-01T02:00:00Z");
        assert_eq!(last("2026-06-01T01:00:00Z"), "2026-06-01T02:00:00Z", "it started in May");
        assert_eq!(last("2026-05-24T23:00:00Z"), "-");
    }

    #[test]
    fn the_hour_that_berlin_skips_in_spring_holds_nothing() {
        // At 01:00 UTC the clock goes from 02:00 to 03:00.
        assert_eq!(end(&["02:00-03:00"], "Europe/Berlin", "2026-03-29T01:00:00Z"), "-");
        assert_eq!(end(&["01:30-02:30"], "Europe/Berlin", "2026-03-29T00:45:00Z"), "2026-03-29T01:00:00Z");
        assert_eq!(end(&["02:30-04:00"], "Europe/Berlin", "2026-03-29T01:00:00Z"), "2026-03-29T02:00:00Z");
        assert_eq!(end(&["01:00-04:00"], "Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-03-29T02:00:00Z");
        assert_eq!(end(&["sat 22:00-06:00"], "Europe/Berlin", "2026-03-28T22:00:00Z"), "2026-03-29T04:00:00Z");
    }

    #[test]
    fn the_hour_that_berlin_shows_twice_in_autumn_holds_twice() {
        // At 01:00 UTC the clock goes from 03:00 back to 02:00.
        let quarter = |now| end(&["02:15-02:45"], "Europe/Berlin", now);
        assert_eq!(quarter("2026-10-25T00:30:00Z"), "2026-10-25T00:45:00Z");
        assert_eq!(quarter("2026-10-25T00:50:00Z"), "-");
        assert_eq!(quarter("2026-10-25T01:30:00Z"), "2026-10-25T01:45:00Z");
        assert_eq!(end(&["01:00-03:00"], "Europe/Berlin", "2026-10-24T23:30:00Z"), "2026-10-25T02:00:00Z");
        assert_eq!(end(&["sat 22:00-06:00"], "Europe/Berlin", "2026-10-24T21:00:00Z"), "2026-10-25T05:00:00Z");
    }

    #[test]
    fn new_york_keeps_its_noon_when_its_clock_changes() {
        let noon = |now| end(&["12:00-14:00"], "America/New_York", now);
        assert_eq!(noon("2026-03-07T17:30:00Z"), "2026-03-07T19:00:00Z");
        assert_eq!(noon("2026-03-08T16:30:00Z"), "2026-03-08T18:00:00Z");
        assert_eq!(noon("2026-11-01T17:30:00Z"), "2026-11-01T19:00:00Z");
    }

    #[test]
    fn no_moment_is_in_a_skipped_hour_and_two_hours_of_moments_are_in_a_repeated_one() {
        let berlin = Zone::of(Some("Europe/Berlin")).unwrap();
        let count = |first: &str, hour: u8| {
            let first = wall(first);
            let at = |n: u64| berlin.hour(first.after(std::time::Duration::from_secs(n * 3_600))).unwrap();
            let day = at(0).day;
            (0..30).filter(|n| at(*n) == LocalHour { day, hour }).count()
        };
        // The local midnights before the clock is put forward, put back, and on an ordinary day.
        assert_eq!((count("2026-03-28T23:00:00Z", 2), count("2026-03-28T23:00:00Z", 3)), (0, 1));
        assert_eq!((count("2026-10-24T22:00:00Z", 2), count("2026-10-24T22:00:00Z", 3)), (2, 1));
        assert_eq!(count("2026-06-09T22:00:00Z", 2), 1);
    }

    #[test]
    fn learned_hours_hold_as_written_ones_do() {
        let first_saturday = MonthlyHour { week: 1, weekday: 5, hour: 23 };
        let windows = Window::learned(1 << 12 | 1 << 23, 1 << 6, Some(first_saturday));
        let shown: Vec<_> = windows.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["12:00-13:00", "23:00-00:00", "sun 00:00-24:00", "first sat 23:00-00:00"]);
        assert_eq!(Window::learned(0, 0, None), []);
    }

    #[test]
    fn a_day_knows_its_weekday_and_its_place_in_the_month() {
        let day = |utc| Zone::of(None).unwrap().hour(wall(utc)).unwrap().day;
        let saturday = day("2026-06-06T12:00:00Z");
        assert_eq!((weekday(saturday), place_in_month(saturday)), (5, Some((2026 * 12 + 5, 1, false))));
        assert_eq!(place_in_month(day("2026-06-27T12:00:00Z")), Some((2026 * 12 + 5, 4, true)));
    }

    #[test]
    fn windows_that_never_end_hold_nothing_off() {
        let always = ["mon-fri 00:00-24:00", "sat 00:00-12:00", "sat 12:00-00:00", "sun 00:00-24:00"];
        let windows: Vec<_> = always.iter().map(|written| window(written)).collect();
        assert!(never_end(&windows));
        assert_eq!(end(&always, "UTC", "2026-06-10T12:10:00Z"), "-");
        assert!(!never_end(&windows[..3]));
        let nearly = ["mon-sat 00:00-24:00", "sun 01:00-24:00", "first sun 00:00-01:00"];
        assert_eq!(end(&nearly, "UTC", "2026-06-03T12:00:00Z"), "2026-06-14T00:00:00Z");
    }

    #[test]
    fn a_zone_that_does_not_exist_holds_nothing_off() {
        assert!(is_timezone("Europe/Berlin") && !is_timezone("Europe/Bärlin"));
        assert_eq!(end(&["12:00-14:00"], "Europe/Bärlin", "2026-06-10T12:10:00Z"), "-");
    }

    proptest::proptest! {
        /// Whatever the windows: none of them holds at their end, and one of them at every moment before it.
        #[test]
        fn the_end_is_the_first_moment_at_which_none_holds(
            hours in proptest::collection::vec((0_u16..1440, 1_u16..1440, 1_u8..128), 1..6),
            minute in 0_i64..(366 * 1440),
            zone in 0_usize..4,
        ) {
            let zone = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"][zone];
            let windows: Vec<_> = hours.into_iter().map(|(from, length, days)| {
                Window { days, weeks: Weeks::Every, from, until: (from + length) % MIDNIGHT }
            }).collect();
            let now = Wall::from_millis(wall("2026-01-01T00:00:00Z").millis() + minute * 60_000);
            let holds = |at: Wall| end_of(&windows, Some(zone), at).is_some();
            if let Some(end) = end_of(&windows, Some(zone), now) {
                proptest::prop_assert!(end > now && !holds(end));
                for step in (now.millis()..end.millis()).step_by(7 * 60_000) {
                    proptest::prop_assert!(holds(Wall::from_millis(step)));
                }
            }
        }
    }
}
