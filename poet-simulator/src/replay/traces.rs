//! Reads recorded traces: checks, outages and changes, as comma-separated values with a header.

use super::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A day, in minutes.
pub(super) const DAY: f64 = 1_440.0;

/// One check of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Check {
    /// Minutes since 1970.
    pub(super) minute: i64,
    pub(super) ok: bool,
    /// How long it took, in seconds; 0 where that is unknown.
    pub(super) seconds: f64,
}

/// One outage of a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outage {
    /// Minutes since 1970.
    pub(super) start: i64,
    /// Between these its length lies, in minutes; there is no upper one where its end was not seen.
    pub(super) at_least: f64,
    pub(super) at_most: Option<f64>,
}

/// A table whose header has these columns, by position.
struct Table<'a> {
    path: &'a Path,
    text: String,
}

impl Table<'_> {
    fn read<'a>(path: &'a Path, header: &str) -> Result<Table<'a>, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::read(path, error))?;
        let found = text.lines().next().unwrap_or_default().trim_end();
        if found == header {
            Ok(Table { path, text })
        } else {
            Err(Error::line(path, 1, found, format!("the header `{header}`")))
        }
    }

    /// The rows, each with its line number, split at commas.
    fn rows<const N: usize>(&self) -> impl Iterator<Item = Result<(usize, [&str; N]), Error>> + '_ {
        let lines = self.text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty());
        lines.map(|(index, line)| {
            let fields: Vec<&str> = line.trim_end().split(',').collect();
            let fields = <[&str; N]>::try_from(fields);
            fields
                .map(|fields| (index + 1, fields))
                .map_err(|_| Error::line(self.path, index + 1, line, format!("{N} fields")))
        })
    }

    fn number(&self, line: usize, field: &str, allowed: &str) -> Result<f64, Error> {
        let number = field.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| Error::line(self.path, line, field, allowed))
    }

    fn minute(&self, line: usize, field: &str) -> Result<i64, Error> {
        let minute = field.parse::<i64>().ok().filter(|minute| *minute >= 0);
        minute.ok_or_else(|| Error::line(self.path, line, field, "a whole number of minutes since 1970"))
    }

    fn flag(&self, line: usize, field: &str) -> Result<bool, Error> {
        match field {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err(Error::line(self.path, line, field, "0 or 1")),
        }
    }
}

/// The files of a folder of traces, sorted by name.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::read(folder, error))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::read(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "csv") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() { Err(Error::empty(folder, "files named *.csv")) } else { Ok(paths) }
}

/// The name of a service or resource: that of its file.
pub(super) fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The checks of one service, oldest first.
pub(super) fn checks(path: &Path) -> Result<Vec<Check>, Error> {
    let table = Table::read(path, "minute,ok,ms")?;
    let mut checks: Vec<Check> = Vec::new();
    for row in table.rows() {
        let (line, [minute, ok, ms]) = row?;
        let check = Check {
            minute: table.minute(line, minute)?,
            ok: table.flag(line, ok)?,
            seconds: table.number(line, ms, "milliseconds, 0 or more")? / 1e3,
        };
        if checks.last().is_some_and(|last| last.minute > check.minute) {
            return Err(Error::line(path, line, minute, "a minute not before that of the line above"));
        }
        checks.push(check);
    }
    if checks.is_empty() { Err(Error::empty(path, "at least one check")) } else { Ok(checks) }
}

/// The outages of every service, oldest first.
pub(super) fn outages(path: &Path) -> Result<BTreeMap<String, Vec<Outage>>, Error> {
    let header = "service,source,start_min,end_min,dur_lo_min,dur_hi_min,censored,check_gap_min,code";
    let table = Table::read(path, header)?;
    let mut services: BTreeMap<String, Vec<Outage>> = BTreeMap::new();
    for row in table.rows() {
        let (line, [service, _, start, _, low, high, censored, _, _]) = row?;
        let number = |field: &str| table.number(line, field, "minutes, 0 or more, or nothing");
        let optional = |field: &str| if field.is_empty() { Ok(None) } else { number(field).map(Some) };
        let (low, high) = (optional(low)?, optional(high)?);
        let at_most = if table.flag(line, censored)? { None } else { high };
        let (at_least, at_most) = match (low, at_most) {
            (Some(low), Some(high)) if low > high => {
                return Err(Error::line(
                    path,
                    line,
                    &format!("{low},{high}"),
                    "a shortest length not over the longest",
                ));
            }
            (Some(low), high) => (low, high),
            (None, Some(high)) => (high, Some(high)),
            (None, None) => {
                return Err(Error::line(path, line, "", "a length in `dur_lo_min`, `dur_hi_min` or both"));
            }
        };
        let start = table.minute(line, start)?;
        services.entry(service.to_owned()).or_default().push(Outage { start, at_least, at_most });
    }
    for outages in services.values_mut() {
        outages.sort_by_key(|outage| outage.start);
    }
    if services.is_empty() { Err(Error::empty(path, "at least one outage")) } else { Ok(services) }
}

/// When a resource changed, in minutes since 1970, oldest first.
pub(super) fn changes(path: &Path) -> Result<Vec<i64>, Error> {
    let table = Table::read(path, "minute")?;
    let mut minutes: Vec<i64> = Vec::new();
    for row in table.rows() {
        let (line, [minute]) = row?;
        let at = table.minute(line, minute)?;
        if minutes.last().is_some_and(|last| *last > at) {
            return Err(Error::line(path, line, minute, "a minute not before that of the line above"));
        }
        minutes.push(at);
    }
    if minutes.len() < 2 { Err(Error::empty(path, "at least two changes")) } else { Ok(minutes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("poet-traces-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("trace.csv");
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_check_is_a_minute_an_outcome_and_a_time() {
        let path = file("good", "minute,ok,ms\n10,1,250\n15,0,0\n");
        let read = checks(&path).unwrap();
        assert_eq!(read[0], Check { minute: 10, ok: true, seconds: 0.25 });
        assert_eq!(read[1], Check { minute: 15, ok: false, seconds: 0.0 });
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_with_its_line_and_what_may_stand_there() {
        for (name, text, line, allowed) in [
            ("header", "min,ok,ms\n", ":1: ", "the header `minute,ok,ms`"),
            ("flag", "minute,ok,ms\n10,1,250\n15,yes,9\n", ":3: found `yes`", "0 or 1"),
            ("number", "minute,ok,ms\n10,1,-5\n", ":2: found `-5`", "milliseconds"),
            ("fields", "minute,ok,ms\n10,1\n", ":2: found `10,1`", "3 fields"),
            ("order", "minute,ok,ms\n10,1,5\n9,1,5\n", ":3: found `9`", "not before"),
            ("empty", "minute,ok,ms\n", "nothing to replay", "at least one check"),
        ] {
            let error = checks(&file(name, text)).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(allowed), "{error}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = outages(Path::new("/nowhere/outages.csv")).unwrap_err();
        assert_eq!(error.to_string(), "reading traces from /nowhere/outages.csv");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn an_outage_has_a_length_between_two_bounds_or_none_above() {
        let header = "service,source,start_min,end_min,dur_lo_min,dur_hi_min,censored,check_gap_min,code\n";
        let rows = "web,upptime,50,58,,8,0,5,500\nweb,log,20,60,12,40,0,12.0,\nweb,upptime,90,99,9,,1,5,0\n";
        let read = outages(&file("outages", &format!("{header}{rows}"))).unwrap();
        let lengths: Vec<_> =
            read["web"].iter().map(|outage| (outage.start, outage.at_least, outage.at_most)).collect();
        assert_eq!(lengths, [(20, 12.0, Some(40.0)), (50, 8.0, Some(8.0)), (90, 9.0, None)]);
        let none = format!("{header}web,upptime,50,58,,,0,5,500\n");
        assert!(outages(&file("none", &none)).unwrap_err().to_string().contains(":2: "));
    }
}
