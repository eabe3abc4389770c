//! One load run with `wrk`, and its result read back through a script of its own instead of from text for people.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use crate::cases::Request;

/// Runs inside wrk when the run is over. Times are in microseconds.
const DONE: &str = r#"
done = function(summary, latency)
  local e = summary.errors
  print(string.format("result: %d %d %d %d %d %d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), e.status, e.connect + e.read + e.write + e.timeout))
end
"#;

/// What a load run measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Answers with a status under 400.
    pub(crate) answered: u64,
    /// Answers with a status from 400 up. They are not part of the throughput, but wrk counts their latencies.
    pub(crate) refused: u64,
    /// `answered` a second.
    pub(crate) throughput: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Say early when the load generator is missing.
pub(crate) fn check() -> anyhow::Result<()> {
    // Asked for its version, wrk prints it and fails; what counts is that it starts.
    match std::process::Command::new("wrk").arg("-v").output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("wrk is not installed; it makes the load. On Debian: apt-get install wrk")
        }
        Err(error) => Err(error).context("cannot run wrk"),
    }
}

/// Load `url` over so many connections for so many seconds.
pub(crate) async fn run(
    url: &str,
    request: Request,
    connections: u64,
    seconds: u64,
    work: &Path,
) -> anyhow::Result<Run> {
    let script = work.join("load.lua");
    std::fs::write(&script, lua(request))?;
    let child = Command::new("wrk")
        .arg(format!("-t{}", connections.min(2)))
        .arg(format!("-c{connections}"))
        .arg(format!("-d{seconds}s"))
        .args(["--timeout", "10s", "--script"])
        .arg(&script)
        .arg(url)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(seconds + 20), child)
        .await
        .context("wrk does not end")??;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    parse(&text).with_context(|| format!("loading {url}"))
}

fn lua(request: Request) -> String {
    match request {
        Request::Get => DONE.to_owned(),
        Request::PostJson(body) => format!(
            "wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[\n{body}]==]\n{DONE}"
        ),
    }
}

fn parse(text: &str) -> anyhow::Result<Run> {
    let line =
        text.lines().find_map(|line| line.strip_prefix("result: ")).with_context(|| text.to_owned())?;
    let numbers =
        line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>().with_context(|| line.to_owned())?;
    let [requests, duration_us, p50_us, p99_us, refused, broken] = numbers[..] else {
        bail!("wrk's result has {} numbers: {line}", numbers.len());
    };
    ensure!(broken == 0, "{broken} connections failed or timed out");
    ensure!(requests > refused, "none of {requests} answers was a success");
    let answered = requests - refused;
    Ok(Run {
        answered,
        refused,
        throughput: answered as f64 * 1e6 / duration_us as f64,
        p50_us: p50_us as f64,
        p99_us: p99_us as f64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_answers_are_no_throughput() {
        let run = parse("Running\nresult: 1100 2000000 150 900 100 0\n").unwrap();
        assert_eq!((run.answered, run.refused), (1000, 100));
        assert!((run.throughput - 500.0).abs() < 1e-9);
    }

    #[test]
    fn a_run_with_broken_connections_counts_for_nothing() {
        assert!(parse("result: 1000 2000000 150 900 0 3").unwrap_err().to_string().contains("3 connections"));
    }

    #[test]
    fn no_result_is_an_error() {
        assert!(parse("unable to connect to 127.0.0.1:1 Connection refused").is_err());
        assert!(parse("result: 0 2000000 0 0 0 0").is_err());
    }
}
