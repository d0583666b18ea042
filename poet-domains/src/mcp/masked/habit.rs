//! What the answers of one tool usually look like, in bounded space and without their words.
//!
//! The same question asked twice is one piece of evidence: a tool that was asked for one page a hundred times may answer
//! the next page quite otherwise.

use serde_json::{Map, Value};
use std::hash::{DefaultHasher, Hasher as _};

/// Plain answers before anything is usual: the ninth differing from eight equal ones is a one-in-ten event by itself,
/// and what departs has to read as a complaint besides.
const MIN_PLAIN: u32 = 8;
/// A form is unusual if fewer than one in this many plain answers had it.
const RARE: u32 = 20;
/// When counts are halved, so that a tool that was changed is learned anew.
const FULL: u32 = 1024;
/// Suspicious answers before a tool may be taken for one that reports errors.
const MIN_REPORTS: u32 = 30;
/// How many different things those have to say. A tool that is merely broken says one or two.
const MIN_DIFFERENT: usize = 10;
/// The most beginnings, keys and reports that are remembered of a tool.
const MAX_HASHES: usize = 48;
/// With more beginnings than this, how an answer begins says nothing.
const FEW_BEGINNINGS: usize = 4;

/// What an answer is, roughly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Nothing,
    Line,
    Paragraph,
    Page,
    Markup,
    Object,
    List,
    Scalar,
    Blocks,
}

const FORMS: usize = 9;

/// The shape of one answer.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    form: Form,
    /// Of a text its first two words, of an object its keys; hashed.
    marks: Vec<u64>,
}

impl Sample {
    pub(super) fn of_text(text: &str) -> Self {
        let form = match text.lines().take(8).count() {
            _ if text.starts_with('<') => Form::Markup,
            0 => Form::Nothing,
            1 if text.len() <= 300 => Form::Line,
            1..=7 if text.len() <= 1000 => Form::Paragraph,
            _ => Form::Page,
        };
        let beginning: Vec<_> = text.split_whitespace().take(2).map(letters).collect();
        Self { form, marks: vec![hash(&beginning)] }
    }

    pub(super) fn of_json(value: &Value) -> Self {
        match value {
            Value::Null => Self { form: Form::Nothing, marks: Vec::new() },
            Value::Object(object) => {
                Self { form: Form::Object, marks: object.keys().take(MAX_HASHES).map(hash).collect() }
            }
            Value::Array(_) => Self { form: Form::List, marks: Vec::new() },
            _ => Self { form: Form::Scalar, marks: Vec::new() },
        }
    }

    pub(super) fn blocks() -> Self {
        Self { form: Form::Blocks, marks: Vec::new() }
    }

    fn is_text(&self) -> bool {
        matches!(self.form, Form::Line | Form::Paragraph | Form::Page)
    }
}

/// The arguments of a call, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question(u64);

impl Question {
    pub(super) fn of(arguments: &Map<String, Value>) -> Self {
        Self(hash(arguments))
    }
}

/// What a suspicious answer says, without what it was asked about: numbers and the arguments' own values are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(text: &str, arguments: &Map<String, Value>) -> Self {
        const READ: usize = 400;
        let mut said: String = text.chars().take(READ).collect();
        for value in arguments.values().filter_map(Value::as_str).filter(|value| value.len() > 1) {
            said = said.replace(value, "");
        }
        let words: Vec<_> = said.split_whitespace().map(letters).collect();
        Self(hash(&words))
    }
}

/// Hashes seen, up to a bound; beyond it there were simply many.
#[derive(Debug, Default)]
struct Seen(Vec<u64>);

impl Seen {
    /// Whether it was not seen before, as far as is remembered.
    fn note(&mut self, hash: u64) -> bool {
        let new = !self.0.contains(&hash);
        if new && self.0.len() < MAX_HASHES {
            self.0.push(hash);
        }
        new
    }

    fn has(&self, hash: u64) -> bool {
        self.0.contains(&hash)
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

/// What one tool usually answers.
#[derive(Debug, Default)]
pub(super) struct Habit {
    asked: Seen,
    /// Answers to different questions that did not read as errors, and how many of them had which form.
    plain: u32,
    forms: [u32; FORMS],
    beginnings: Seen,
    keys: Seen,
    /// Answers that did.
    suspicious: u32,
    reports: Seen,
}

impl Habit {
    /// Takes note of an answer that reads as no error. Others teach nothing of what is usual: a tool that is broken
    /// for long would make its error the rule.
    pub(super) fn saw_plain(&mut self, sample: &Sample, question: Question) {
        if !self.asked.note(question.0) {
            return;
        }
        if self.plain + self.suspicious >= FULL {
            self.halve();
        }
        self.plain += 1;
        self.forms[sample.form as usize] += 1;
        let seen = if sample.is_text() { &mut self.beginnings } else { &mut self.keys };
        for mark in &sample.marks {
            seen.note(*mark);
        }
    }

    pub(super) fn saw_suspicious(&mut self, fingerprint: Fingerprint) {
        if self.plain + self.suspicious >= FULL {
            self.halve();
        }
        self.suspicious += 1;
        self.reports.note(fingerprint.0);
    }

    /// Whether an answer looks unlike what the tool usually says; `false` as long as that is not known.
    pub(super) fn departs(&self, sample: &Sample) -> bool {
        if self.plain < MIN_PLAIN {
            return false;
        }
        if self.forms[sample.form as usize] * RARE < self.plain {
            return true;
        }
        match sample.form {
            Form::Line | Form::Paragraph => {
                let characteristic = self.beginnings.len() <= FEW_BEGINNINGS;
                characteristic && sample.marks.iter().all(|mark| !self.beginnings.has(*mark))
            }
            Form::Object => {
                let known = sample.marks.iter().filter(|mark| self.keys.has(**mark)).count();
                known * 2 < sample.marks.len()
            }
            _ => false,
        }
    }

    /// Whether most of what the tool says reads as errors, and as many different ones: then it is its job.
    pub(super) fn reports_errors(&self) -> bool {
        self.suspicious >= MIN_REPORTS && self.suspicious >= self.plain && self.reports.len() >= MIN_DIFFERENT
    }

    fn halve(&mut self) {
        self.plain /= 2;
        self.suspicious /= 2;
        self.forms.iter_mut().for_each(|count| *count /= 2);
    }
}

/// A word without digits and punctuation.
fn letters(word: &str) -> String {
    word.chars().filter(|c| c.is_alphabetic()).flat_map(char::to_lowercase).collect()
}

fn hash(value: &(impl std::hash::Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usual(samples: &[Sample]) -> Habit {
        let mut habit = Habit::default();
        samples.iter().cycle().zip(0..12).for_each(|(sample, n)| habit.saw_plain(sample, Question(n)));
        habit
    }

    #[test]
    fn nothing_departs_before_there_is_a_rule() {
        let mut habit = Habit::default();
        let object = Sample::of_json(&json!({ "id": 7 }));
        for n in 1..MIN_PLAIN {
            habit.saw_plain(&object, Question(n.into()));
            // The same question once more says nothing new.
            habit.saw_plain(&object, Question(n.into()));
        }
        assert!(!habit.departs(&Sample::of_text("fetch failed")));
        habit.saw_plain(&object, Question(0));
        assert!(habit.departs(&Sample::of_text("fetch failed")));
    }

    #[test]
    fn a_line_that_begins_otherwise_departs_where_lines_begin_alike() {
        let wrote = usual(&[Sample::of_text("Successfully wrote a.txt"), Sample::of_text("Successfully wrote b.txt")]);
        assert!(wrote.departs(&Sample::of_text("Destination already exists")));
        assert!(!wrote.departs(&Sample::of_text("Successfully wrote nothing, c.txt is missing")));
        let chatty: Vec<_> = ["a b", "c d", "e f", "g h", "i j"].map(Sample::of_text).into();
        assert!(!usual(&chatty).departs(&Sample::of_text("Destination already exists")));
    }

    #[test]
    fn an_object_departs_if_most_of_its_keys_are_new() {
        let contact = usual(&[Sample::of_json(&json!({ "id": 7, "name": "Ada", "message": "hi" }))]);
        assert!(contact.departs(&Sample::of_json(&json!({ "code": 404, "message": "gone", "hint": "none" }))));
        assert!(!contact.departs(&Sample::of_json(&json!({ "id": 7, "message": "gone" }))));
    }

    #[test]
    fn what_was_usual_long_ago_stops_being_so() {
        let mut habit = Habit::default();
        let line = Sample::of_text("one line");
        (0..200).for_each(|n| habit.saw_plain(&line, Question(n)));
        assert!(!habit.departs(&line));
        let object = Sample::of_json(&json!({ "id": 7 }));
        (200..200 + 6 * u64::from(FULL)).for_each(|n| habit.saw_plain(&object, Question(n)));
        assert!(habit.departs(&line));
    }
}
