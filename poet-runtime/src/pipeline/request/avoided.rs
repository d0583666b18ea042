//! Until when a call that may wait is put off by hours that were learned.

use crate::calendar::{self, Window};
use crate::clock::Wall;
use crate::parameter::{MonthlyHour, Values};
use std::time::Duration;

/// The hours, days of the week and hour of the month in which calls are put off by the values in force.
#[derive(Clone, Copy, Default)]
pub(super) struct Learned {
    hours: u32,
    weekdays: u8,
    monthly: u16,
}

impl Learned {
    pub(super) fn of(values: &Values) -> Self {
        Self { hours: values.defer_hours, weekdays: values.defer_weekdays, monthly: values.defer_monthly }
    }

    /// The end of these windows and of the written ones that follow on them; `None` where that is longer than a job
    /// waits, because what is only learned must not lose a call.
    pub(super) fn end(self, written: &[Window], timezone: Option<&str>, now: Wall, patience: Duration) -> Option<Wall> {
        if self.hours == 0 && self.weekdays == 0 && self.monthly == 0 {
            return None;
        }
        let mut windows = Window::learned(self.hours, self.weekdays, MonthlyHour::from_code(self.monthly));
        windows.extend(written);
        calendar::end_of(&windows, timezone, now).filter(|end| *end < now.after(patience))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Learned = Learned { hours: 1 << 12, weekdays: 0, monthly: 0 };
    const DAY: Duration = Duration::from_secs(86_400);

    /// 2026-06-10, a Wednesday, at an hour UTC.
    fn at(hour: i64) -> Wall {
        Wall::from_millis(1_781_049_600_000 + hour * 3_600_000)
    }

    #[test]
    fn a_learned_hour_goes_on_to_the_end_of_the_written_one_that_follows() {
        let written = ["13:00-14:00".parse().unwrap()];
        assert_eq!(NOON.end(&[], None, at(12), DAY), Some(at(13)));
        assert_eq!(NOON.end(&written, None, at(12), DAY), Some(at(14)));
        assert_eq!(NOON.end(&written, None, at(11), DAY), None);
        assert_eq!(Learned::default().end(&written, None, at(13), DAY), None, "what is written holds without it");
    }

    #[test]
    fn a_day_that_is_longer_than_a_job_waits_is_not_waited_for() {
        let wednesdays = Learned { weekdays: 1 << 2, ..Learned::default() };
        assert_eq!(wednesdays.end(&[], None, at(12), DAY), Some(at(24)));
        assert_eq!(wednesdays.end(&[], None, at(12), DAY / 2), None);
    }

    #[test]
    fn hours_that_leave_none_put_nothing_off() {
        let all = Learned { hours: 0xff_ffff, ..Learned::default() };
        assert_eq!(all.end(&[], None, at(12), DAY), None);
    }
}
