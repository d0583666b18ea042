//! What a replay says: one row for each figure that was promised.

use serde::Serialize;
use std::fmt;

/// One figure: what was aimed at and what was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What is aimed at.
    pub goal: String,
    /// What came out, in the unit of the goal; `None` where there was nothing to measure it on.
    pub measured: Option<f64>,
    /// The same for a person.
    pub shown: String,
    /// Whether the goal is reached; `None` where nothing was measured or there is no goal.
    pub reached: Option<bool>,
    /// What else was found, and what bounds the figure.
    pub note: String,
}

/// Every figure of a replay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The figures, in the order of the studies.
    pub figures: Vec<Figure>,
}

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    Within(f64, f64),
}

impl Goal {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Within(low, high) => (low..=high).contains(&value),
        }
    }
}

/// How a figure is written for a person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    Times,
    Percent,
    Plain,
}

impl Form {
    fn show(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.3} x"),
            Self::Percent => format!("{:.2} %", 100.0 * value),
            Self::Plain => format!("{value:.4}"),
        }
    }
}

impl Figure {
    pub(super) fn new(name: impl Into<String>, goal: Goal, form: Form, value: Option<f64>, note: String) -> Self {
        let value = value.filter(|value| value.is_finite());
        let goal_shown = match goal {
            Goal::AtMost(most) => format!("<= {}", form.show(most)),
            Goal::AtLeast(least) => format!(">= {}", form.show(least)),
            Goal::Within(low, high) => format!("{} to {}", form.show(low), form.show(high)),
        };
        Self {
            name: name.into(),
            goal: goal_shown,
            measured: value,
            shown: value.map_or_else(|| "not measured".to_owned(), |value| form.show(value)),
            reached: value.map(|value| goal.holds(value)),
            note,
        }
    }
}

impl Report {
    /// Whether every figure that was measured reaches its goal.
    #[must_use]
    pub fn all_reached(&self) -> bool {
        self.figures.iter().all(|figure| figure.reached != Some(false))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["figure", "goal", "measured", "reached"];
        let cells = |figure: &Figure| {
            let reached = match figure.reached {
                Some(true) => "yes",
                Some(false) => "no",
                None => "-",
            };
            [figure.name.clone(), figure.goal.clone(), figure.shown.clone(), reached.to_owned()]
        };
        let rows: Vec<_> = self.figures.iter().map(cells).collect();
        let wide = |column: usize| {
            rows.iter().map(|row| row[column].chars().count()).chain([titles[column].len()]).max().unwrap_or(0)
        };
        let [a, b, c, d] = [wide(0), wide(1), wide(2), wide(3)];
        let [name, goal, measured, reached] = titles;
        writeln!(f, "{name:<a$}  {goal:<b$}  {measured:<c$}  {reached:<d$}  found")?;
        for ([name, goal, measured, reached], figure) in rows.iter().zip(&self.figures) {
            writeln!(f, "{name:<a$}  {goal:<b$}  {measured:<c$}  {reached:<d$}  {}", figure.note)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_without_a_measurement_is_neither_reached_nor_missed() {
        let figure = Figure::new("probing", Goal::AtMost(1.1), Form::Times, Some(f64::NAN), String::new());
        assert_eq!((figure.measured, figure.reached, figure.shown.as_str()), (None, None, "not measured"));
        assert!(Report { figures: vec![figure] }.all_reached());
    }

    #[test]
    fn every_figure_is_a_line_of_the_table_with_its_goal() {
        let figures = vec![
            Figure::new("false timeouts", Goal::AtMost(0.0025), Form::Percent, Some(0.004), "too quick".to_owned()),
            Figure::new("cost", Goal::AtMost(1.02), Form::Times, Some(1.01), String::new()),
        ];
        let report = Report { figures };
        let text = report.to_string();
        assert!(text.contains("<= 0.25 %") && text.contains("0.40 %") && text.contains("too quick"), "{text}");
        assert_eq!((text.lines().count(), report.all_reached()), (3, false));
    }
}
