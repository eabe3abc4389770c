//! `make bench`: PiCloud against the same scripts on a native server without isolation, as ratios of one run.
//!
//! In reading order: `args` (what can be chosen), `process` (a server under test), `client` (its REST API), `cases` (the
//! scripts and their right answers), `wrk` (one load run), `throughput` (pairs of load runs), `events` (a queue that
//! drains), `lifecycle` (upload, cold scripts, start, memory), `report` (Markdown on standard output). Progress goes to standard error.

use std::time::Instant;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::process::{Picloud, Server};

mod args;
mod cases;
mod client;
mod events;
mod lifecycle;
mod process;
mod report;
mod throughput;
mod wrk;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Some(args) = Args::parse(std::env::args().skip(1))? else {
        print!("{}", args::USAGE);
        return Ok(());
    };
    // Leaving through here on a signal drops the servers, and dropping a server kills its process.
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = run(&args) => result,
        _ = tokio::signal::ctrl_c() => anyhow::bail!("interrupted"),
        _ = terminate.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let begun = Instant::now();
    wrk::check()?;
    let work = Args::work_dir()?;
    report::machine();

    let baseline = Server::start_baseline(args, work.path()).await.context("the baseline server")?;
    let picloud = Picloud::start(args, work.path()).await.context("PiCloud")?;
    let client = picloud.client();
    for case in cases::ALL {
        client.deploy(case.name, case.source).await?;
    }
    let rows = throughput::measure(args, baseline.url(), picloud.url(), work.path()).await?;
    report::throughput(args, &rows);
    drop(baseline);

    let (picloud, drain) = events::measure(args, picloud).await?;
    report::events(&drain);
    let facts = lifecycle::measure(args, picloud).await?;
    report::lifecycle(&facts);
    eprintln!("done in {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}
