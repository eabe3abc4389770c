//! The results as Markdown on standard output, each with the goal that it has, so that they can go into the docs as they are.

use std::time::Duration;

use crate::args::Args;
use crate::events::Drain;
use crate::lifecycle::Facts;
use crate::throughput::{Row, median};

/// What the ratios of throughput should reach: script, connections, at least.
const RATIO_GOALS: &[(&str, &[u64], f64)] = &[("hello", &[16, 64], 0.35), ("fib", &[1, 16, 64], 0.45)];

const MEBIBYTE: u64 = 1 << 20;

/// One line on what the numbers were made with.
pub(crate) fn machine() {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    // ARM has no model name; there the board's name says as much.
    let model =
        field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Model")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = read("/proc/meminfo");
    let kibibytes: u64 =
        field(&memory, "MemTotal").and_then(|text| text.trim_end_matches(" kB").parse().ok()).unwrap_or(0);
    println!(
        "Machine: {model}, {cores} cores (shared with the load generator), {:.1} GiB, Linux {} {}\n",
        kibibytes as f64 / MEBIBYTE as f64,
        read("/proc/sys/kernel/osrelease").trim(),
        std::env::consts::ARCH,
    );
}

/// The value of a `name : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim_start().strip_prefix(':')?.trim()))
}

/// The table of pairs.
pub(crate) fn throughput(args: &Args, rows: &[Row]) {
    println!(
        "Load: `wrk`, runs of {} s, native and PiCloud in turn, medians (number of pairs: {}). The native server keeps its \
         counter in memory; PiCloud commits every increment to disk before it answers.\n",
        args.size.seconds, args.size.pairs
    );
    println!(
        "| script | connections | native req/s | PiCloud req/s | ratio | goal | native p50 / p99 | PiCloud p50 / p99 | fuel a call |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    for row in rows {
        println!(
            "| {} | {} | {:.0} | {:.0} | {:.2} | {} | {} / {} | {} / {} | {} |",
            row.name,
            row.connections,
            row.baseline.throughput,
            row.picloud.throughput,
            row.ratio,
            ratio_goal(row),
            micros(row.baseline.p50_us),
            micros(row.baseline.p99_us),
            micros(row.picloud.p50_us),
            micros(row.picloud.p99_us),
            row.fuel.map_or_else(|| "-".to_owned(), |fuel| fuel.to_string()),
        );
    }
    println!();
    for row in rows {
        for (side, name) in [(&row.baseline, "native"), (&row.picloud, "PiCloud")] {
            if side.refused > 0 {
                println!(
                    "Refused: {name} answered {} calls of {} over {} connections with an error; they are not in the \
                     throughput, but their latencies are in the percentiles.\n",
                    side.refused, row.name, row.connections
                );
            }
        }
    }
}

fn ratio_goal(row: &Row) -> String {
    let goal = RATIO_GOALS
        .iter()
        .find(|(name, connections, _)| *name == row.name && connections.contains(&row.connections));
    goal.map_or_else(String::new, |(_, _, least)| format!("{least} {}", verdict(row.ratio >= *least)))
}

/// The line about the queue.
pub(crate) fn events(drain: &Drain) {
    let memory = drain.peak_memory.map_or_else(
        || "not measured".to_owned(),
        |bytes| format!("{:.1} MiB", bytes as f64 / MEBIBYTE as f64),
    );
    println!(
        "Events: {} were put into a queue and handled in {:.1} s, {:.0} a second; {} still waited when the last was \
         stored. Most resident memory: {memory}.\n",
        drain.events,
        drain.took.as_secs_f64(),
        drain.events as f64 / drain.took.as_secs_f64(),
        drain.waited,
    );
}

/// The table of everything else.
pub(crate) fn lifecycle(facts: &Facts) {
    println!("| what | number | p50 | p99 | max | goal |");
    println!("|---|--:|--:|--:|--:|--:|");
    times("upload to first answer", &facts.uploads, Some(("p50 under 20 ms", Duration::from_millis(20))));
    times("different scripts in turn", &facts.in_turn, Some(("p50 under 10 ms", Duration::from_millis(10))));
    times("the same once more", &facts.in_turn_again, Some(("p50 under 10 ms", Duration::from_millis(10))));
    times("start to first answer", &facts.starts, Some(("p50 under 150 ms", Duration::from_millis(150))));
    println!();
    println!("| resident memory | MiB | goal |");
    println!("|---|--:|--:|");
    memory("idle, after a start and one call", facts.idle_memory, 60);
    memory(&format!("most, with {} scripts called in turn", facts.in_turn.len()), facts.peak_memory, 256);
}

fn times(what: &str, times: &[Duration], goal: Option<(&str, Duration)>) {
    let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e6).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(max) = sorted.last() else {
        println!("| {what} | 0 | - | - | - | not measured |");
        return;
    };
    let p50 = median(sorted.iter().copied());
    // The smallest value that 99 of 100 do not exceed.
    let p99 = sorted[(sorted.len() * 99).div_ceil(100) - 1];
    let goal = goal.map_or_else(String::new, |(words, most)| {
        format!("{words} {}", verdict(p50 < most.as_secs_f64() * 1e6))
    });
    println!("| {what} | {} | {} | {} | {} | {goal} |", sorted.len(), micros(p50), micros(p99), micros(*max));
}

fn memory(what: &str, bytes: Option<u64>, most: u64) {
    match bytes {
        Some(bytes) => println!(
            "| {what} | {:.1} | under {most} {} |",
            bytes as f64 / MEBIBYTE as f64,
            verdict(bytes < most * MEBIBYTE)
        ),
        None => println!("| {what} | - | not measured |"),
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "**missed**" }
}

fn micros(value: f64) -> String {
    match value {
        value if value < 10_000.0 => format!("{value:.0} µs"),
        value => format!("{:.1} ms", value / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "model\t\t: 143\nmodel name\t: Some CPU @ 3 GHz: fast\n";
        assert_eq!(field(text, "model name"), Some("Some CPU @ 3 GHz: fast"));
        assert_eq!(field(text, "model"), Some("143"));
        assert_eq!(field(text, "Model"), None);
    }
}
