//! `picloud top`: which scripts take the fuel, as a table that is drawn anew again and again.
//!
//! A handful of escape sequences that every terminal knows is all it takes, so there is no library for it: another screen
//! (the shell's comes back as it was), no cursor, no wrapping, and lines that are written over the last ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::{interrupted, moment, number, text};
use crate::args::TopArgs;
use crate::client::Api;
use crate::client::api::query;
use crate::exit::{CliError, Exit};
use crate::output::table::Table;
use crate::output::text::{clean, counted, milliseconds, thousands};
use crate::output::time::rfc3339;
use crate::output::{Terminal, time};

/// To the other screen, without cursor and wrapping.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
/// And back.
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
/// The most scripts that the server tells of.
const MAX_SCRIPTS: u16 = 1000;
/// How many a table has when nothing is said about it.
const DEFAULT_SCRIPTS: usize = 100;
/// Lines above the scripts: two of the head, an empty one, the titles; and one below.
const FRAME: usize = 5;

/// Show the table, once or until it is interrupted.
///
/// # Errors
///
/// The arguments are wrong, or the server cannot be reached at first. Later it is waited for.
pub async fn run(args: &TopArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let metrics = fetch(args, api).await?;
    if terminal.json_wanted() {
        return terminal.json(&metrics);
    }
    let most = usize::from(args.limit.unwrap_or(MAX_SCRIPTS));
    if args.once || !terminal.can_redraw() {
        let table = table(&metrics, None, args.limit.map_or(DEFAULT_SCRIPTS, |_| most));
        terminal.line(&head(&metrics, api))?;
        return terminal.line(&format!("\n{}", table.render(terminal.out_paint())));
    }
    terminal.raw(ENTER.as_bytes())?;
    let result = tokio::select! {
        result = redraw(args, metrics, most, api, terminal) => result,
        () = interrupted() => Ok(()),
    };
    // Whatever happened, the shell gets its screen back.
    terminal.raw(LEAVE.as_bytes())?;
    result
}

/// Draw again and again.
async fn redraw(
    args: &TopArgs,
    mut metrics: Value,
    most: usize,
    api: &Api,
    terminal: &mut Terminal,
) -> Result<(), CliError> {
    let mut rates = Rates::default();
    let mut trouble = None;
    loop {
        rates.look(&metrics, Instant::now());
        let rows = terminal.size().map_or(24, |(_, rows)| usize::from(rows)).saturating_sub(FRAME);
        let table = table(&metrics, Some(&rates), most.min(rows)).render(terminal.out_paint());
        let below = trouble.take().map_or_else(String::new, |why: CliError| clean(&why.to_string()));
        terminal.raw(screen(&format!("{}\n\n{table}\n{below}", head(&metrics, api))).as_bytes())?;
        tokio::time::sleep(Duration::from_secs(args.interval)).await;
        match fetch(args, api).await {
            Ok(found) => metrics = found,
            Err(error) if error.exit() == Exit::Unreachable => trouble = Some(error),
            Err(error) => return Err(error),
        }
    }
}

/// What draws the lines over those of the last time, and clears the rest.
fn screen(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| format!("{line}\u{1b}[K")).collect();
    format!("\u{1b}[H{}\u{1b}[J", lines.join("\n"))
}

async fn fetch(args: &TopArgs, api: &Api) -> Result<Value, CliError> {
    let since = moment("--since", Some(&args.since))?.unwrap_or_else(Timestamp::now);
    // The order by calls is made here, so it takes all of them.
    let limit = if args.sort == "fuel" { args.limit } else { None };
    let parameters =
        [("from", Some(rfc3339(since))), ("limit", Some(limit.unwrap_or(MAX_SCRIPTS).to_string()))];
    let mut metrics = api.get(format!("{}{}", api.path(["metrics"]), query(&parameters))).await?;
    if args.sort == "calls"
        && let Some(items) = metrics["items"].as_array_mut()
    {
        items.sort_by_key(|item| std::cmp::Reverse(number(item, "calls")));
        items.truncate(usize::from(args.limit.unwrap_or(MAX_SCRIPTS)));
    }
    Ok(metrics)
}

/// Two lines about the whole.
fn head(metrics: &Value, api: &Api) -> String {
    let total = &metrics["total"];
    clean(&format!("app {} at {}, since {}", api.app(), api.http().server(), time::local(&metrics["from"])))
        + &format!(
            "\n{} of {}, {}, {} fuel",
            counted(number(total, "calls"), "call"),
            counted(number(metrics, "scripts"), "script"),
            counted(faults(total), "fault"),
            thousands(number(total, "fuel_total")),
        )
}

fn faults(item: &Value) -> u64 {
    ["script", "limit", "platform"].iter().map(|fault| number(&item["faults"], fault)).sum()
}

fn table(metrics: &Value, rates: Option<&Rates>, most: usize) -> Table {
    let titles = ["SCRIPT", ">CALLS", ">CALLS/S", ">FAULTS", ">FUEL", ">SHARE", ">FUEL/CALL", ">P50", ">P95"];
    let shown = |title: &&&str| rates.is_some() || **title != ">CALLS/S";
    let titles: Vec<&'static str> = titles.iter().filter(shown).copied().collect();
    let all = number(&metrics["total"], "fuel_total").max(1);
    let mut table = Table::new(&titles);
    for item in metrics["items"].as_array().map(Vec::as_slice).unwrap_or_default().iter().take(most) {
        let (name, fuel) = (text(item, "script"), number(item, "fuel_total"));
        let mut cells = vec![name.clone(), thousands(number(item, "calls"))];
        cells.extend(rates.map(|rates| format!("{:.1}", rates.of(&name))));
        cells.extend([
            thousands(faults(item)),
            thousands(fuel),
            format!("{:.1} %", fuel as f64 / all as f64 * 100.0),
            thousands(number(&item["fuel"], "mean")),
            milliseconds(number(&item["duration_us"], "p50")),
            milliseconds(number(&item["duration_us"], "p95")),
        ]);
        table.row(cells);
    }
    table
}

/// Calls a second between the last two looks.
#[derive(Default)]
struct Rates {
    last: Option<(String, Instant, BTreeMap<String, u64>)>,
    rates: BTreeMap<String, f64>,
}

impl Rates {
    fn look(&mut self, metrics: &Value, at: Instant) {
        let from = text(metrics, "from");
        let items = metrics["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let calls: BTreeMap<String, u64> =
            items.iter().map(|item| (text(item, "script"), number(item, "calls"))).collect();
        // When the first minute has left the time, the difference says nothing; what was known stays.
        if let Some((last_from, last_at, last)) = &self.last
            && *last_from == from
        {
            let seconds = at.duration_since(*last_at).as_secs_f64().max(0.001);
            let before = |name: &str| last.get(name).copied().unwrap_or(0);
            self.rates = calls
                .iter()
                .map(|(name, now)| (name.clone(), now.saturating_sub(before(name)) as f64 / seconds))
                .collect();
        }
        self.last = Some((from, at, calls));
    }

    fn of(&self, name: &str) -> f64 {
        self.rates.get(name).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metrics(from: &str, calls: u64) -> Value {
        json!({ "from": from, "items": [{ "script": "a", "calls": calls }] })
    }

    #[test]
    fn rates_are_what_came_between_two_looks() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        rates.look(&metrics("12:00", 10), at(0));
        assert!((rates.of("a") - 0.0).abs() < 0.01);
        rates.look(&metrics("12:00", 30), at(2));
        assert!((rates.of("a") - 10.0).abs() < 0.01);
        // A minute with 25 calls has left the time: fewer calls than before, but nobody has taken any back.
        rates.look(&metrics("12:01", 6), at(4));
        assert!((rates.of("a") - 10.0).abs() < 0.01);
        rates.look(&metrics("12:01", 8), at(5));
        assert!((rates.of("a") - 2.0).abs() < 0.01);
        assert!((rates.of("b") - 0.0).abs() < 0.01);
    }

    #[test]
    fn a_drawing_covers_the_last_one() {
        assert_eq!(screen("a\nb"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\u{1b}[J");
    }
}
