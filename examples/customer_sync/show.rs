//! What a person sees: the progress of a run, and the tables at the end.

use crate::command::Demonstration;
use crate::customers::Finished;
use crate::servers::ledger::Counts;
use crate::servers::services::{self, Transport};
use crate::statistics::{Figures, Moved, Summary, Times};
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// What will happen.
pub(crate) fn introduction(demonstration: &Demonstration, folder: &Path) -> String {
    let mut text = format!(
        "Two runs over {} customers each, the second by a new process; {} at a time, seed {}; data in {}.\n\nThe services and what goes wrong:\n",
        demonstration.customers,
        demonstration.parallel,
        demonstration.seed,
        folder.display()
    );
    for service in &services::ALL {
        let transport = match service.transport {
            Transport::Stdio => "child process",
            Transport::Http => "HTTP",
        };
        let _ = writeln!(text, "  {}.{} ({transport})\n      {}", service.name, service.tool, service.pattern);
    }
    text
}

/// One customer, told to the process that watches this one.
pub(crate) fn report_line(customer: &Finished) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, customer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// Why it did not work, on the error output.
#[expect(clippy::print_stderr, reason = "errors of a program go there")]
pub(crate) fn complain(error: &anyhow::Error) {
    eprintln!("customer_sync: {error:#}");
}

/// The progress of a run: one line that changes on a terminal, ten lines elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    total: u32,
    done: u32,
    failed: u32,
    began: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(label: &'static str, total: u32) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { label, total, done: 0, failed: 0, began: Instant::now(), terminal }
    }

    pub(crate) fn advance(&mut self, succeeded: bool) {
        self.done += 1;
        self.failed += u32::from(!succeeded);
        if self.terminal {
            print!("\r{self}");
            // A terminal that cannot be written to is no reason to stop.
            let _ = std::io::stdout().flush();
        } else if self.done.is_multiple_of((self.total / 10).max(1)) {
            println!("{self}");
        }
    }

    pub(crate) fn end(self) {
        if self.terminal {
            println!();
        }
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { label, total, done, failed, began, .. } = self;
        write!(f, "{label:>10}: {done:>4} of {total}, {failed} failed, {:.0} s", began.elapsed().as_secs_f64())
    }
}

/// Both runs beside each other.
pub(crate) fn comparison(before: &Summary, after: &Summary) -> String {
    let mut rows = vec![row("customers", [before, after], |summary| summary.customers.calls.to_string())];
    rows.push(row("the whole run", [before, after], |summary| format!("{:.1} s", summary.took.as_secs_f64())));
    rows.push(row("succeeded", [before, after], |summary| share(&summary.customers)));
    rows.extend(times("time per customer", [&before.customers, &after.customers]));
    for ((name, before), (_, after)) in before.services.iter().zip(&after.services) {
        rows.push([String::new(), String::new(), String::new()]);
        rows.push(row(&format!("{name}: succeeded"), [before, after], share));
        rows.push(row(&format!("{name}: attempts per call"), [before, after], |figures| {
            figures.attempts_per_call.map_or_else(|| "–".to_owned(), |attempts| format!("{attempts:.3}"))
        }));
        rows.extend(times(&format!("{name}: time"), [before, after]));
    }
    let mut text = table(["", "first run", "second run"], &rows);
    for (label, summary) in [("first run", before), ("second run", after)] {
        text.push_str(&tally(&format!("Failures of the {label}"), &summary.errors));
        text.push_str(&tally(&format!("Warnings of the {label}"), &summary.warnings));
    }
    text
}

/// What was done with calls that were not simply made.
pub(crate) fn moves(label: &str, moves: &[Moved]) -> String {
    let rows: Vec<[String; 4]> = moves
        .iter()
        .map(|moved| [moved.call.clone(), moved.how.clone(), moved.count.to_string(), moved.why.clone()])
        .collect();
    let label = format!("moved in the {label}");
    table([&label, "how", "calls", "most often because"], &rows)
}

/// What the servers counted, as the witness that no call stands for another.
pub(crate) fn servers(counts: &[(&'static str, Counts)]) -> String {
    let rows: Vec<[String; 4]> = counts
        .iter()
        .map(|(name, counts)| {
            [
                (*name).to_owned(),
                counts.requests.to_string(),
                counts.executions.to_string(),
                counts.repeated.to_string(),
            ]
        })
        .collect();
    table(["counted by the servers", "requests", "records", "records again"], &rows)
}

fn row<T: ?Sized>(label: &str, [before, after]: [&T; 2], show: impl Fn(&T) -> String) -> [String; 3] {
    [label.to_owned(), show(before), show(after)]
}

type Pick = fn(&Times) -> Duration;

fn times(label: &str, figures: [&Figures; 2]) -> Vec<[String; 3]> {
    let shown: [(&str, Pick); 3] =
        [("mean", |times| times.mean), ("95 % within", |times| times.p95), ("99 % within", |times| times.p99)];
    let cell = |figures: &Figures, pick: Pick| {
        figures.times.map_or_else(|| "–".to_owned(), |times| format!("{:.0} ms", pick(&times).as_secs_f64() * 1e3))
    };
    let row = |(name, pick)| [format!("{label}, {name}"), cell(figures[0], pick), cell(figures[1], pick)];
    shown.into_iter().map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run are small")]
fn share(figures: &Figures) -> String {
    if figures.calls == 0 {
        return "–".to_owned();
    }
    format!("{:.1} %", figures.succeeded as f64 / figures.calls as f64 * 100.0)
}

fn tally(title: &str, counts: &[(String, usize)]) -> String {
    const SHOWN: usize = 5;
    let mut text = String::new();
    if !counts.is_empty() {
        let _ = writeln!(text, "\n{title}:");
    }
    for (what, count) in counts.iter().take(SHOWN) {
        let _ = writeln!(text, "  {count:>4} × {what}");
    }
    if let Some(more) = counts.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "         and {more} others");
    }
    text
}

/// Columns as wide as what stands in them: the first to the left, numbers to the right.
fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: [&str; N]| {
        let mut line = format!("{:<width$}", cells[0], width = widths[0]);
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            let _ = write!(line, "   {cell:>width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(header);
    for row in rows {
        line(std::array::from_fn(|column| row[column].as_str()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["succeeded".to_owned(), "99.0 %".to_owned()], ["–".to_owned(), "1 ms".to_owned()]];
        assert_eq!(table(["", "before"], &rows), "            before\nsucceeded   99.0 %\n–             1 ms\n");
    }

    #[test]
    fn a_long_list_of_reasons_is_cut_and_says_so() {
        let counts: Vec<(String, usize)> = (1..=7).map(|n| (format!("reason {n}"), 8 - n)).collect();
        let text = tally("Failures", &counts);
        assert!(text.contains("7 × reason 1") && !text.contains("reason 6") && text.contains("and 2 others"), "{text}");
    }
}
