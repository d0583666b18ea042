//! From what was declared to what is meant: names become positions, references become dependencies. Everything that is
//! wrong is said at once.

use super::condition::Meant;
use super::declare::{Plan, Step};
use super::reference::{Names, Reference, Root, Template};
use super::schedule::Hold;
use crate::error::Error;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fmt;

/// The most steps of one plan.
pub(super) const MAX_STEPS: usize = 10_000;

/// Everything that is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    plan: String,
    problems: Vec<String>,
}

impl Problems {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plan `{}`: {}", self.plan, self.problems.join("; "))
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        Self::configuration(Box::new(problems))
    }
}

/// A plan whose names all mean something.
pub(super) struct Compiled<'p> {
    pub(super) steps: Vec<Meaning<'p>>,
}

/// What one step means.
pub(super) struct Meaning<'p> {
    pub(super) arguments: Template<'p>,
    pub(super) when: Option<Meant<'p>>,
    pub(super) undo: Option<Template<'p>>,
    /// What it waits for, each step once.
    pub(super) after: Vec<(usize, Hold)>,
}

pub(super) fn compile(plan: &Plan) -> Result<Compiled<'_>, Problems> {
    let mut problems = Vec::new();
    if plan.steps.len() > MAX_STEPS {
        problems.push(format!("it has {} steps, of which at most {MAX_STEPS} are allowed", plan.steps.len()));
        return Err(Problems { plan: plan.name.clone(), problems });
    }
    let index = names(plan, &mut problems);
    let steps: Vec<_> =
        plan.steps.iter().enumerate().map(|(at, step)| meaning(plan, &index, at, step, &mut problems)).collect();
    if problems.is_empty()
        && let Some(cycle) = cycle(&steps)
    {
        let names: Vec<_> = cycle.iter().map(|&step| format!("`{}`", plan.steps[step].name)).collect();
        problems.push(format!("steps wait for each other: {}", names.join(" → ")));
    }
    if problems.is_empty() { Ok(Compiled { steps }) } else { Err(Problems { plan: plan.name.clone(), problems }) }
}

type Index<'p> = HashMap<&'p str, usize>;

fn names<'p>(plan: &'p Plan, problems: &mut Vec<String>) -> Index<'p> {
    let mut index = HashMap::with_capacity(plan.steps.len());
    for (at, Step { name, .. }) in plan.steps.iter().enumerate() {
        let sound = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') || !name.chars().all(sound) {
            problems.push(format!(
                "`{name}` is no name for a step: a letter or `_`, then letters, digits, `_` and `-` are allowed"
            ));
        }
        if is_reserved(name) && position(name) != Some(at + 1) {
            problems.push(format!("step {} cannot be called `{name}`, which stands for another step's answer", at + 1));
        }
        if index.insert(name.as_str(), at).is_some() {
            problems.push(format!("two steps are called `{name}`"));
        }
    }
    for name in plan.inputs.keys() {
        if is_reserved(name) {
            problems.push(format!("an input cannot be called `{name}`, which stands for a step's answer"));
        } else if index.contains_key(name.as_str()) {
            problems.push(format!("a step and an input are both called `{name}`"));
        }
    }
    index
}

fn is_reserved(name: &str) -> bool {
    name == "last_result" || position(name).is_some()
}

/// The position, from 1, that `step_3` stands for.
fn position(name: &str) -> Option<usize> {
    let digits = name.strip_prefix("step_")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn meaning<'p>(
    plan: &'p Plan,
    index: &Index<'p>,
    at: usize,
    step: &'p Step,
    problems: &mut Vec<String>,
) -> Meaning<'p> {
    let mut wrong = |problem: String| problems.push(format!("step `{}`: {problem}", step.name));
    let Some(action) = &step.action else {
        wrong("it does nothing; say what with `.call(…)`".to_owned());
        return Meaning { arguments: Template::Literal(String::new()), when: None, undo: None, after: Vec::new() };
    };
    if (step.queued || step.deferrable) && action.target().is_none() {
        wrong("only the call of a service can be queued or put off".to_owned());
    }
    if !matches!(step.arguments, Value::Object(_) | Value::Null) {
        wrong("its arguments have to be an object".to_owned());
    }
    let names = Place { plan, index, at, undoing: false };
    let arguments = Template::read(&step.arguments, &names, &mut wrong);
    let when = step.when.as_ref().map(|when| when.read(&names, &mut wrong));
    let undo = step.compensation.as_ref().map(|compensation| {
        if !matches!(compensation.arguments, Value::Object(_) | Value::Null) {
            wrong("the arguments of its compensation have to be an object".to_owned());
        }
        Template::read(&compensation.arguments, &Place { undoing: true, ..names }, &mut wrong)
    });

    let mut after = Vec::new();
    for before in &step.after {
        match index.get(before.as_str()) {
            Some(&before) if before == at => wrong("it cannot come after itself".to_owned()),
            Some(&before) if plan.sequential && before > at => wrong(later(&plan.steps[before].name)),
            Some(&before) => after.push((before, Hold::Order)),
            None => wrong(format!("it comes after `{before}`, which is no step; {}", known(plan, at))),
        }
    }
    if plan.sequential && at > 0 {
        after.push((at - 1, Hold::Order));
    }
    let mut refers = |reference: &Reference<'_>, hold| {
        if let Root::Step(before) = reference.root {
            after.push((before, hold));
        }
    };
    arguments.each_reference(&mut |reference| refers(reference, Hold::Data));
    if let Some(when) = &when {
        when.each_template(&mut |template| template.each_reference(&mut |reference| refers(reference, Hold::Order)));
    }
    // Where a step is both, data is the stricter.
    after.sort_unstable_by(|a, b| (a.0, b.1).cmp(&(b.0, a.1)));
    after.dedup_by_key(|(before, _)| *before);
    Meaning { arguments, when, undo, after }
}

fn later(name: &str) -> String {
    format!("`{name}` comes later")
}

/// What could have been meant, in a few words.
fn known(plan: &Plan, at: usize) -> String {
    const SHOWN: usize = 12;
    let list = |names: &mut dyn Iterator<Item = &str>| {
        let names: Vec<_> = names.take(SHOWN + 1).collect();
        let more = if names.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        shown.join(", ") + more
    };
    let others = plan.steps.iter().enumerate().filter(|(other, _)| *other != at);
    let steps = list(&mut others.map(|(_, step)| step.name.as_str()));
    let inputs = list(&mut plan.inputs.keys().map(String::as_str));
    match (steps.is_empty(), inputs.is_empty()) {
        (true, true) => "there is no other step and no input".to_owned(),
        (false, true) => format!("there are the steps {steps}"),
        (true, false) => format!("there are the inputs {inputs}"),
        (false, false) => format!("there are the steps {steps} and the inputs {inputs}"),
    }
}

/// What names mean in one step.
#[derive(Clone, Copy)]
struct Place<'a, 'p> {
    plan: &'p Plan,
    index: &'a Index<'p>,
    at: usize,
    /// A compensation may refer to any step, its own above all.
    undoing: bool,
}

impl<'p> Names<'p> for Place<'_, 'p> {
    fn find(&self, name: &str) -> Result<Root<'p>, String> {
        let Self { plan, at, .. } = *self;
        let step = match self.index.get(name) {
            Some(&step) => step,
            None if name == "last_result" => {
                at.checked_sub(1).ok_or_else(|| "refers to the step before the first one".to_owned())?
            }
            None => match (position(name), plan.inputs.get(name)) {
                (Some(position), _) if (1..=plan.steps.len()).contains(&position) => position - 1,
                (Some(_), _) => {
                    return Err(format!("refers to a step that is not there; there are {}", plan.steps.len()));
                }
                (None, Some(input)) => return Ok(Root::Input(input)),
                (None, None) => return Err(format!("is neither a step nor an input; {}", known(plan, at))),
            },
        };
        match step {
            _ if self.undoing => Ok(Root::Step(step)),
            _ if step == at => Err("refers to the step itself".to_owned()),
            _ if step > at && plan.sequential => Err(format!("is not known yet: {}", later(&plan.steps[step].name))),
            _ => Ok(Root::Step(step)),
        }
    }
}

/// Steps that wait for each other in a ring, the first of them named again at the end.
fn cycle(steps: &[Meaning<'_>]) -> Option<Vec<usize>> {
    let mut waiting: Vec<_> = steps.iter().map(|step| step.after.len()).collect();
    let mut dependents = vec![Vec::new(); steps.len()];
    for (at, step) in steps.iter().enumerate() {
        step.after.iter().for_each(|(before, _)| dependents[*before].push(at));
    }
    let mut free: Vec<_> = (0..steps.len()).filter(|&step| waiting[step] == 0).collect();
    let mut freed = 0;
    while let Some(step) = free.pop() {
        freed += 1;
        for &dependent in &dependents[step] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    if freed == steps.len() {
        return None;
    }
    // Whoever still waits, waits for another who does: going back from one to the next must come round.
    let stuck = |step: &usize| waiting[*step] > 0;
    let mut at = (0..steps.len()).find(stuck)?;
    let (mut way, mut seen) = (Vec::new(), HashSet::new());
    while seen.insert(at) {
        way.push(at);
        at = steps[at].after.iter().map(|(before, _)| *before).find(stuck)?;
    }
    let mut ring = way.split_off(way.iter().position(|step| *step == at)?);
    ring.push(at);
    ring.reverse();
    Some(ring)
}

/// What tells a plan with its inputs from another one under the same key; it does not tell what they are.
pub(super) fn fingerprint(plan: &Plan) -> String {
    let mut steps = Vec::with_capacity(plan.steps.len());
    for step in &plan.steps {
        let target = step.action.as_ref().and_then(|action| action.target());
        steps.push(serde_json::json!([step.name, target, step.arguments]));
    }
    let mut whole = serde_json::Map::new();
    whole.insert("inputs".to_owned(), Value::Object(plan.inputs.clone()));
    whole.insert("steps".to_owned(), Value::Array(steps));
    whole.insert("name".to_owned(), Value::String(plan.name.clone()));
    crate::fingerprint::fingerprint(&Value::Object(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Condition, Inputs, Step, named};
    use serde_json::json;

    fn step(name: &str, arguments: Value) -> Step {
        Step::new(name).call(async |_: Inputs| Ok(Value::Null), arguments)
    }

    fn problems(plan: &Plan) -> Vec<String> {
        plan.check().err().map(|problems| problems.iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn every_problem_is_said_at_once() {
        let plan = named("broken")
            .input("email", "a")
            .input("step_1", 1)
            .step(step("one", json!({ "to": "$nobody" })))
            .step(step("one", json!([])).after("none"))
            .step(step("last_result", json!({})).deferrable())
            .step(step("step_9", json!({ "x": "$step_7.id" })))
            .step(Step::new("idle"));
        let problems = problems(&plan);
        for expected in [
            "two steps are called `one`",
            "step 3 cannot be called `last_result`, which stands for another step's answer",
            "step 4 cannot be called `step_9`, which stands for another step's answer",
            "an input cannot be called `step_1`, which stands for a step's answer",
            "step `one`: its arguments have to be an object",
            "step `last_result`: only the call of a service can be queued or put off",
            "step `step_9`: `$step_7.id` in `x` refers to a step that is not there; there are 5",
            "step `idle`: it does nothing; say what with `.call(…)`",
        ] {
            assert!(problems.iter().any(|problem| problem == expected), "{expected}\nis not among {problems:#?}");
        }
        assert!(problems.iter().any(|p| p.starts_with("step `one`: `$nobody` in `to` is neither a step nor an input")));
        assert!(problems.iter().any(|p| p.starts_with("step `one`: it comes after `none`, which is no step")));
    }

    #[test]
    fn a_cycle_is_named_in_its_order() {
        let plan = named("ring")
            .step(step("free", json!({})))
            .step(step("a", json!({ "x": "$c.id" })))
            .step(step("b", json!({})).after("a").after("free"))
            .step(step("c", json!({})).when(Condition::exists("$b")));
        let [problem] = &problems(&plan)[..] else { panic!("one problem") };
        assert!(problem.starts_with("steps wait for each other: "), "{problem}");
        let ring = problem.rsplit_once(": ").unwrap().1;
        let turns = ["`a` → `b` → `c` → `a`", "`b` → `c` → `a` → `b`", "`c` → `a` → `b` → `c`"];
        assert!(turns.contains(&ring), "{ring}");
    }

    #[test]
    fn dependencies_are_found_in_arguments_and_conditions_and_data_is_the_stricter() {
        let plan = named("found")
            .input("n", 1)
            .step(step("a", json!({ "n": "$n" })))
            .step(step("b", json!({})))
            .step(step("c", json!({ "x": ["$a.id", "$last_result"], "y": "$step_1" })).after("a").after("b"))
            .step(step("d", json!({})).when(Condition::equals("$a.n", 1)));
        let compiled = compile(&plan).unwrap();
        assert_eq!(compiled.steps[2].after, [(0, Hold::Data), (1, Hold::Data)]);
        assert_eq!(compiled.steps[3].after, [(0, Hold::Order)]);
    }

    #[test]
    fn in_a_chain_nothing_refers_to_what_comes_later() {
        let plan = named("chain")
            .sequential()
            .step(step("a", json!({ "x": "$b.id", "y": "$last_result", "z": "$a" })))
            .step(step("b", json!({})));
        let problems = problems(&plan).join("\n");
        assert!(problems.contains("`$b.id` in `x` is not known yet: `b` comes later"), "{problems}");
        assert!(problems.contains("`$last_result` in `y` refers to the step before the first one"), "{problems}");
        assert!(problems.contains("`$a` in `z` refers to the step itself"), "{problems}");
    }

    #[test]
    fn another_input_makes_another_fingerprint_and_the_same_one_does_not() {
        let plan = |email: &str| named("p").input("email", email).step(step("a", json!({ "to": "$email" })));
        assert_eq!(fingerprint(&plan("a")), fingerprint(&plan("a")));
        assert_ne!(fingerprint(&plan("a")), fingerprint(&plan("b")));
    }
}
