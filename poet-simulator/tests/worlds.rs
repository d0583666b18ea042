//! Every world that comes with the simulator, lived through for a short time, and files that are wrong.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up is a failed test")]

use poet_simulator::campaign::Campaign;
use poet_simulator::judge::judge;
use poet_simulator::policy::Policy;
use poet_simulator::show::{Shown, html, json, text};
use poet_simulator::tune::Search;
use poet_simulator::world::{EMBEDDED, Lived, Log, Run, World, run};
use std::io::Write;
use std::sync::{Arc, Mutex};

fn lived(world: &str, policy: &str, days: f64, rate: f64, seed: u64, log: Log) -> Lived {
    let world = Arc::new(World::find(world).unwrap());
    let policy = Policy::find(policy).unwrap();
    run(&Run { world, policy, days, rate, seed, log }, |_| {})
}

fn campaign(world: &str, policies: &[&str], days: f64, rate: f64) -> Campaign {
    Campaign {
        world: Arc::new(World::find(world).unwrap()),
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
        seeds: vec![1],
        rates: vec![rate],
        days,
        log: Log::default(),
        threads: 2,
    }
}

#[test]
fn every_world_can_be_lived_through_under_every_policy_it_names() {
    for (name, _) in EMBEDDED {
        let world = World::find(name).unwrap();
        let policies: Vec<_> = world.policies.iter().map(String::as_str).collect();
        let days = world.days.min(0.02);
        let campaign = campaign(name, &policies, days, 200.0 / (days * 86_400.0));
        let outcomes = campaign.run(&|_| {}).unwrap();
        assert_eq!(outcomes.len(), policies.len());
        for outcome in &outcomes {
            let requests: f64 = outcome.lived.parts.iter().map(|part| part.requests).sum();
            assert!(requests > 20.0, "{name} under {}: {requests}", outcome.policy);
        }
        let verdicts = judge(&campaign.world, &outcomes);
        let shown = Shown { world: &campaign.world, days, outcomes: &outcomes, verdicts: &verdicts };
        assert!(text::text(&shown).starts_with(&format!("{name}: ")));
        assert_eq!(json::json(&shown)["policies"].as_array().unwrap().len(), policies.len());
        let page = html::html(&shown);
        assert!(page.contains("<svg") && page.ends_with("</html>") && !page.contains("src="), "{name}");
    }
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn one_seed_gives_the_same_log_to_the_byte_and_another_seed_another() {
    for policy in ["learned", "clairvoyant", "envoy", "aws_adaptive"] {
        let log = |seed| {
            let kept = Kept::default();
            let log = Log::to(Box::new(kept.clone()));
            let lived = lived("small", policy, 0.04, 0.2, seed, log.clone());
            log.end().unwrap();
            assert!(lived.summary.requests > 100.0);
            let bytes = kept.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        let (first, again) = (log(7), log(7));
        let differs = first.lines().zip(again.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "{policy}");
        assert_eq!(first.len(), again.len(), "{policy}");
        assert_ne!(first, log(8), "{policy}");
    }
}

#[test]
fn the_log_tells_of_requests_calls_attempts_and_moves() {
    let kept = Kept::default();
    lived("small", "learned", 0.04, 0.3, 1, Log::to(Box::new(kept.clone())));
    let bytes = kept.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    let mut newest = 0.0;
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let at = line["at"].as_f64().unwrap();
        assert!(at >= newest, "{line} comes after {newest}");
        newest = at;
    }
    for event in ["request", "call", "attempt", "moved"] {
        assert!(text.contains(&format!("\"event\":\"{event}\"")), "{event}");
    }
}

#[test]
fn where_nothing_is_to_be_learned_no_hour_is_flagged_and_little_is_lost() {
    let campaign = campaign("null", &["best_static", "learned"], 0.04, 0.3);
    let outcomes = campaign.run(&|_| {}).unwrap();
    let (held, learned) = (&outcomes[0].lived, &outcomes[1].lived);
    assert!(learned.moves.iter().all(|m| m.hours().is_none_or(|hours| hours == 0)));
    let loss = 1.0 - learned.summary.utility / held.summary.utility;
    assert!(loss < 0.05, "{loss}");
}

#[test]
fn what_is_wrong_with_a_world_is_said_with_its_place_and_what_is_allowed() {
    let service = "[services.crm]\nmean = 0.2\n[[steps]]\nservice = \"crm\"\n";
    let cases = [
        ("dayz = 3\n", "1:1: dayz: there is no such key; write one of `about`, `days`, `rate`, `sweep`"),
        ("days = \"3\"\n", "1:1: days: expected a number from 0.001 to 3650, found \"3\""),
        ("days = -1\n", "1:1: days: expected a number from 0.001 to 3650, found -1"),
        ("days = \n", "1:8: "),
        ("policies = [\"non\"]\n", "1:13: policies[0]: expected one of \"none\", \"fixed\""),
        ("begin = \"soon\"\n", "1:1: begin: expected a date such as \"2023-11-13\", found \"soon\""),
        ("arrivals = { hours = [1, 2] }\n", "1:14: arrivals.hours: expected 24 numbers, one for each hour of the day"),
        ("arrivals = { trace = \"nowhere.txt\" }\n", "1:14: arrivals.trace: `nowhere.txt` cannot be read: "),
        ("goals = [{ figure = \"nice\", at_least = 1 }]\n", "1:12: goals[0].figure: expected one of \"gap_covered\""),
        ("goals = [{ figure = \"mean\" }]\n", "1:10: goals[0]: says neither `at_least` nor `at_most`"),
        ("changes = [{ service = \"crn\" }]\n", "1:14: changes[0].service: there is no service `crn`; there are `crm`"),
        (
            "[static.source.pins.crm]\n\"retry.max_retry\" = 2\n",
            "2:1: static.source.pins.crm.retry.max_retry: services.crm.pin.\"retry.max_retry\": there is no parameter",
        ),
        (
            "[services.db]\nfailures = { hang = 0.5, transient = 0.4 }\n",
            "2:1: services.db.failures: the shares of the kinds of failure sum to 0.9; they must sum to 1",
        ),
        (
            "[services.db]\ncapacity = { per_second = 9, cuts = [{ from = 5, until = 4 }] }\n",
            "2:38: services.db.capacity.cuts[0]: `until` (4) must be after `from` (5), both in seconds",
        ),
        ("[services.db]\nhours = { 24 = 2 }\n", "2:11: services.db.hours.24: expected an hour of the day from 0 to 23"),
        (
            "[services.db]\ntimezone = \"Mars\"\n",
            "2:1: services.db.timezone: there is no time zone \"Mars\"; expected an IANA name",
        ),
        (
            "[services.db]\noutages = [{ time = \"noon\" }]\n",
            "2:14: services.db.outages[0].time: expected a time such as \"12:00\", found \"noon\"",
        ),
    ];
    for (text, expected) in cases {
        let error = World::read("w", &format!("{text}{service}"), None).unwrap_err();
        let problems = error.problems();
        assert!(problems[0].starts_with(expected), "{text}: {problems:?}");
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
    }
}

#[test]
fn every_problem_of_a_world_is_said_at_once() {
    let error = World::read("w", "days = 0\nrate = \"fast\"\n", None).unwrap_err();
    let text = error.to_string();
    for problem in ["w:1:1: days", "w:2:1: rate", "`services` is missing", "`steps` is missing"] {
        assert!(text.contains(problem), "{text}");
    }
}

#[test]
fn a_world_that_there_is_not_is_answered_with_those_there_are() {
    let error = World::find("referense").unwrap_err().to_string();
    assert!(error.contains("write one of `reference`, `null`, `shift`, `overload`, `adversarial`, `small`"), "{error}");
}

#[test]
fn a_static_policy_that_a_world_does_not_state_is_refused() {
    let problem = campaign("small", &["source"], 0.01, 0.1).run(&|_| {}).unwrap_err();
    assert_eq!(problem, "world `small` states no values for `source`: write [static.source]");
}

#[test]
fn requests_come_when_a_trace_says() {
    let folder = std::env::temp_dir().join(format!("poet-trace-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("arrivals.txt"), "10\n20\n3600\n").unwrap();
    let text = "days = 0.05\narrivals = { trace = \"arrivals.txt\" }\n[services.crm]\n[[steps]]\nservice = \"crm\"\n";
    let world = World::read("traced", text, Some(&folder));
    std::fs::remove_dir_all(&folder).unwrap();
    let world = Arc::new(world.unwrap());
    let policy = Policy::find("none").unwrap();
    let lived = run(&Run { world, policy, days: 0.05, rate: 1.0, seed: 1, log: Log::default() }, |_| {});
    let by_part: Vec<f64> = lived.parts.iter().map(|part| part.requests).collect();
    assert_eq!((by_part[0], by_part.iter().sum::<f64>()), (2.0, 3.0));
}

#[test]
fn a_search_finds_that_retries_pay_where_one_attempt_in_three_fails_by_chance() {
    let text = "about = \"a\"\n[client]\nfixed_timeout = true\n[services.crm]\ntransient = 0.3\n\
                failures = { transient = 1 }\n[[steps]]\nservice = \"crm\"\n";
    let world = Arc::new(World::read("w", text, None).unwrap());
    let search = Search { world, days: 0.01, rates: vec![0.1], seed: 1, rounds: 1, threads: 2 };
    let found = search.run(&|_, _| {});
    let retries = found.held.pins["crm"].get(poet_runtime::parameter::find("retry.max_retries").unwrap(), None);
    assert!(retries >= Some(1.0), "{}", found.as_toml());
    // What it prints can be put into the file.
    let again = World::read("w", &format!("{text}{}", found.as_toml()), None).unwrap();
    assert_eq!(again.statics["best_static"].pins, found.held.pins);
}
