//! What is printed: a line for each cell while the matrix runs, and the table at its end.
#![expect(clippy::print_stdout, reason = "printing is what the program is for")]

use std::collections::BTreeMap;
use std::process::ExitCode;

/// What a cell came to: what was measured, or why the claim does not hold.
pub(crate) type Outcome = Result<String, String>;

/// Prints one line.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// The cells that have been tried.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Rows in the order in which they began, with the cells that hold and those that do not.
    rows: Vec<(&'static str, BTreeMap<&'static str, bool>)>,
}

impl Report {
    /// Takes note of a cell and prints its line.
    pub(crate) fn add(&mut self, row: &'static str, cell: &'static str, outcome: &Outcome) {
        let (word, text) = match outcome {
            Ok(note) => ("ok  ", note),
            Err(problem) => ("FAIL", problem),
        };
        println!("{word} {row:<22} {cell:<16} {text}");
        if self.rows.last().is_none_or(|(last, _)| *last != row) {
            self.rows.push((row, BTreeMap::new()));
        }
        if let Some((_, cells)) = self.rows.last_mut() {
            cells.insert(cell, outcome.is_ok());
        }
    }

    /// Prints the table; fails if a cell does not hold, or if none was tried.
    pub(crate) fn finish(self) -> ExitCode {
        println!();
        let (mut hold, mut tried) = (0, 0);
        for (row, cells) in &self.rows {
            let held = cells.values().filter(|&&holds| holds).count();
            let broken: Vec<_> = cells.iter().filter(|(_, holds)| !**holds).map(|(cell, _)| *cell).collect();
            println!("{row:<22} {held:>2} of {:<2} {}", cells.len(), broken.join(", "));
            hold += held;
            tried += cells.len();
        }
        println!("{:<22} {hold:>2} of {tried}", "all");
        if hold == tried && tried > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
