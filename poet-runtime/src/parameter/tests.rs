use super::*;

#[test]
fn every_parameter_can_be_set_read_and_is_within_its_bounds_by_default() {
    for parameter in ALL {
        let default = (parameter.default)(Profile::GENERAL);
        assert!((parameter.min..=parameter.max).contains(&default), "{}", parameter.name);
        let mut values = Values::of(Profile::GENERAL);
        assert_eq!(values.get(parameter.name, None), Some(default), "{}", parameter.name);
        assert!(values.set(parameter.name, None, parameter.max), "{}", parameter.name);
        assert_eq!(values.get(parameter.name, None), Some(parameter.max), "{}", parameter.name);
    }
}

#[test]
fn a_value_outside_its_bounds_is_clamped_and_a_nan_refused() {
    let mut values = Values::of(Profile::GENERAL);
    assert!(values.set("timeout.attempt", None, 1e9));
    assert_eq!(values.attempt_timeout, Duration::from_secs(300));
    assert!(!values.set("timeout.attempt", None, f64::NAN));
}

#[test]
fn every_hour_of_a_month_has_a_code_of_its_own() {
    for code in 1..=MonthlyHour::MAX {
        assert_eq!(MonthlyHour::from_code(code).map(MonthlyHour::code), Some(code));
    }
    assert_eq!((MonthlyHour::from_code(0), MonthlyHour::from_code(MonthlyHour::MAX + 1)), (None, None));
}

#[test]
fn hours_and_days_read_as_a_person_writes_them() {
    let hours = Unit::Hours.show(f64::from(1u32 << 23 | 0b1 | 0b11 << 12));
    assert_eq!(hours, "00:00-01:00, 12:00-14:00, 23:00-24:00");
    assert_eq!((Unit::Hours.show(0.0), Unit::Weekdays.show(0.0)), ("none".to_owned(), "none".to_owned()));
}

#[test]
fn every_name_stands_once() {
    for (i, a) in ALL.iter().enumerate() {
        assert!(ALL[i + 1..].iter().all(|b| a.name != b.name), "{}", a.name);
    }
}
