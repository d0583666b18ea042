//! As a page: the same table and figures, with curves over the life of the world. One file that needs no other.

use super::{Shown, mean, text};
use crate::world::{COLUMNS, Move, Summary};
use poet_runtime::parameter::{self, Unit};
use std::collections::BTreeMap;
use std::fmt::Write as _;

const COLOURS: [&str; 10] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f", "#8c564b", "#bcbd22"];
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;color:#222}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}th,td{padding:.2rem .55rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child,.l{text-align:left}.yes{color:#067a46}.no{color:#b3261e;font-weight:600}\
svg{max-width:100%;height:auto}figure{margin:1.5rem 0}figcaption{font-weight:600}.key span{margin-right:1rem;white-space:nowrap}\
.wide{overflow-x:auto}";

/// What is drawn over the life of the world: a title, a factor, and the figure.
type Drawn = (&'static str, f64, fn(&Summary) -> f64);

/// One curve: a name, and points over days.
type Curve = (String, Vec<(f64, f64)>);

/// The whole page.
#[must_use]
pub fn html(shown: &Shown<'_>) -> String {
    let world = shown.world;
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>World {name}</title><style>{STYLE}</style><h1>World {name}</h1><p>{about}. {days} days, {seeds} seed(s); \
         the last {share:.0} % is measured.</p>",
        name = escaped(&world.name),
        about = escaped(&world.about),
        days = shown.days,
        seeds = shown.seeds().len(),
        share = 100.0 * (1.0 - world.measured_from),
    );
    table(&mut page, shown);
    judged(&mut page, shown);
    let curves: [Drawn; 4] = [
        ("Requests done in the end, %", 100.0, |s| s.eventually),
        ("Requests done at once, %", 100.0, |s| s.now),
        ("What a request was worth", 1.0, |s| s.utility),
        ("Calls for each request", 1.0, |s| s.calls),
    ];
    for (title, factor, of) in curves {
        let lines: Vec<Curve> = shown
            .groups()
            .into_iter()
            .map(|(policy, rate, runs)| {
                let parts = runs.iter().map(|run| run.lived.parts.len()).min().unwrap_or(0);
                let point = |part: usize| {
                    let each: Vec<f64> = runs.iter().map(|run| factor * of(&run.lived.parts[part])).collect();
                    ((part as f64 + 0.5) * runs[0].lived.part, each.iter().sum::<f64>() / each.len() as f64)
                };
                let name = if world.sweep.is_empty() { policy.to_owned() } else { format!("{policy} {rate}/s") };
                (name, (0..parts).map(point).collect())
            })
            .collect();
        chart(&mut page, title, &lines, false, shown.days);
    }
    learned(&mut page, shown);
    let _ = write!(
        page,
        "<details><summary>The same as text</summary><pre>{}</pre></details></html>",
        escaped(&text::text(shown))
    );
    page
}

fn table(page: &mut String, shown: &Shown<'_>) {
    page.push_str("<div class=\"wide\"><table><tr><th>policy<th>rate");
    for (name, ..) in COLUMNS {
        let _ = write!(page, "<th>{name}");
    }
    for (policy, rate, runs) in shown.groups() {
        let summary = mean(&runs);
        let _ = write!(page, "<tr><td>{policy}<td>{rate}");
        for (_, _, decimals, factor, of) in COLUMNS {
            let _ = write!(page, "<td>{:.decimals$}", factor * of(&summary));
        }
    }
    page.push_str("</table></div>");
}

fn judged(page: &mut String, shown: &Shown<'_>) {
    if shown.verdicts.is_empty() {
        return;
    }
    page.push_str("<h2>Goals</h2><div class=\"wide\"><table><tr><th>figure<th class=\"l\">of<th>goal<th>measured<th><th class=\"l\">bound by");
    for verdict in shown.verdicts {
        let (class, word) = match verdict.reached {
            Some(true) => ("yes", "reached"),
            Some(false) => ("no", "not reached"),
            None => ("", "not known"),
        };
        let rate = verdict.rate.map(|rate| format!(" at {rate}/s")).unwrap_or_default();
        let measured = verdict.measured.map_or("-".to_owned(), |measured| format!("{measured:.4}"));
        let _ = write!(
            page,
            "<tr><td>{}<td class=\"l\">{}{rate}<td>{}<td>{measured}<td class=\"{class}\">{word}<td class=\"l\">{}",
            escaped(&verdict.figure),
            verdict.policy,
            escaped(&verdict.goal),
            escaped(&verdict.bound)
        );
    }
    page.push_str("</table></div>");
}

/// The values of each parameter that moved, over the life of the world, in the first run that learned.
fn learned(page: &mut String, shown: &Shown<'_>) {
    let Some(run) = shown.outcomes.iter().find(|outcome| !outcome.lived.moves.is_empty()) else { return };
    let _ = write!(page, "<h2>Learned under {} with seed {}</h2>", run.policy, run.seed);
    let mut by_parameter: BTreeMap<&str, BTreeMap<String, Vec<&Move>>> = BTreeMap::new();
    for m in &run.lived.moves {
        let after = m.after.map(|kind| format!(" after {kind}")).unwrap_or_default();
        let line = format!("{}.{}{after}", m.service, m.operation);
        by_parameter.entry(&m.parameter).or_default().entry(line).or_default().push(m);
    }
    for (name, lines) in by_parameter {
        let unit = parameter::find(name).map_or(Unit::Factor, |parameter| parameter.unit);
        if matches!(unit, Unit::Hours | Unit::Weekdays | Unit::MonthlyHour) {
            let _ = write!(page, "<p><b>{name}</b></p><ul>");
            for (line, moves) in lines {
                for m in moves {
                    let _ = write!(
                        page,
                        "<li>day {:.1}: {} {}</li>",
                        m.second / 86_400.0,
                        escaped(&line),
                        unit.show(m.new)
                    );
                }
            }
            page.push_str("</ul>");
            continue;
        }
        let curves: Vec<Curve> = lines
            .into_iter()
            .map(|(line, moves)| {
                let mut points = Vec::new();
                if let Some(old) = moves.first().and_then(|m| m.old) {
                    points.push((0.0, old));
                }
                points.extend(moves.iter().map(|m| (m.second / 86_400.0, m.new)));
                if let Some(last) = moves.last() {
                    points.push((shown.days, last.new));
                }
                (line, points)
            })
            .collect();
        let unit = match unit {
            Unit::Seconds => ", s",
            _ => "",
        };
        chart(page, &format!("{name}{unit}"), &curves, true, shown.days);
    }
}

/// Curves over days; in steps where a value holds until the next.
fn chart(page: &mut String, title: &str, curves: &[Curve], steps: bool, days: f64) {
    let values = || curves.iter().flat_map(|(_, points)| points.iter().map(|(_, y)| *y)).filter(|y| y.is_finite());
    let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if !least.is_finite() {
        return;
    }
    let pad = ((most - least) * 0.06).max(most.abs() * 0.01).max(1e-6);
    let (low, high) = (least - pad, most + pad);
    let x = |day: f64| LEFT + day / days.max(1e-9) * (WIDTH - LEFT - 10.0);
    let y = |value: f64| 10.0 + (high - value) / (high - low) * (HEIGHT - BOTTOM - 10.0);
    let _ = write!(
        page,
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" role=\"img\" \
         aria-label=\"{}\" font-size=\"11\" font-family=\"system-ui,sans-serif\">",
        escaped(title),
        escaped(title)
    );
    for tick in 0..=4 {
        let value = low + (high - low) * f64::from(tick) / 4.0;
        let at = y(value);
        let _ = write!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e5e5e5\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"end\" fill=\"#555\">{}</text>",
            WIDTH - 10.0,
            LEFT - 6.0,
            at + 4.0,
            round(value, high - low)
        );
        let day = days * f64::from(tick) / 4.0;
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">day {}</text>",
            x(day),
            HEIGHT - 8.0,
            round(day, days)
        );
    }
    let mut key = String::new();
    for (index, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let dash = if index < COLOURS.len() { "" } else { " stroke-dasharray=\"4 3\"" };
        let mut path = String::new();
        for (i, (day, value)) in points.iter().filter(|(_, value)| value.is_finite()).enumerate() {
            let (x, y) = (x(*day), y(*value));
            let _ = match (i, steps) {
                (0, _) => write!(path, "M{x:.1} {y:.1}"),
                (_, true) => write!(path, "H{x:.1}V{y:.1}"),
                (_, false) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        let name = escaped(name);
        let _ = write!(
            page,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"{dash}><title>{name}</title></path>"
        );
        let _ = write!(key, "<span style=\"color:{colour}\">&#9644; {name}</span> ");
    }
    let _ = write!(page, "</svg><div class=\"key\">{key}</div></figure>");
}

fn round(value: f64, span: f64) -> String {
    let decimals = if span >= 20.0 {
        0
    } else if span >= 2.0 {
        1
    } else {
        3
    };
    format!("{value:.decimals$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
