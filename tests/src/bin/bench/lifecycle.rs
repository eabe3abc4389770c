//! What throughput does not show: upload to first answer, cold scripts, starts, and resident memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::args::Args;
use crate::cases::Request;
use crate::client::Client;
use crate::process::Picloud;

/// Uploads under way at a time, when only their number matters.
const UPLOADERS: usize = 4;
/// Calling scripts in turn stops after this long, and the report says how far it came.
const IN_TURN_LIMIT: Duration = Duration::from_secs(20);

/// What was measured. Memory in bytes; none where the process was not ours to look at.
#[derive(Debug)]
pub(crate) struct Facts {
    /// From the start of the process to its first answer, its caches being warm.
    pub(crate) starts: Vec<Duration>,
    pub(crate) idle_memory: Option<u64>,
    /// From the start of an upload to the end of the first answer.
    pub(crate) uploads: Vec<Duration>,
    /// The first call of each script after all have been uploaded, in turn.
    pub(crate) in_turn: Vec<Duration>,
    /// The same scripts in the same order once more.
    pub(crate) in_turn_again: Vec<Duration>,
    /// The most that was resident, uploads included.
    pub(crate) peak_memory: Option<u64>,
}

/// Measure everything on a server to which `hello` has been deployed.
pub(crate) async fn measure(args: &Args, mut picloud: Picloud) -> anyhow::Result<Facts> {
    let mut starts = Vec::new();
    eprintln!("{} starts", args.size.starts);
    for _ in 0..args.size.starts {
        let (next, took) = picloud.restart("/default/hello").await?;
        picloud = next;
        starts.extend(took);
    }
    // It has answered one call; what it freed after that has had time to go.
    sleep(Duration::from_secs(2)).await;
    let idle_memory = picloud.memory("VmRSS")?;

    // A running server may have these scripts from an earlier run, so each run has numbers of its own.
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let first_id = since.as_secs() * 10_000;
    let client = picloud.client();
    let uploads = uploads(&client, first_id, args.size.uploads).await?;
    let first_id = first_id + args.size.uploads as u64;
    deploy_many(&client, first_id, args.size.scripts).await?;
    let in_turn = in_turn(&client, first_id, args.size.scripts).await?;
    let in_turn_again = self::in_turn(&client, first_id, args.size.scripts).await?;
    let peak_memory = picloud.memory("VmHWM")?;
    Ok(Facts { starts, idle_memory, uploads, in_turn, in_turn_again, peak_memory })
}

async fn uploads(client: &Client, first_id: u64, count: usize) -> anyhow::Result<Vec<Duration>> {
    eprintln!("{count} uploads with their first call");
    let mut times = Vec::new();
    for (index, id) in (first_id..).take(count).enumerate() {
        let name = format!("bench-upload-{index}");
        let begun = Instant::now();
        client.deploy(&name, &source(id)).await?;
        call(client, &name, id).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

async fn deploy_many(client: &Client, first_id: u64, count: usize) -> anyhow::Result<()> {
    eprintln!("{count} uploads");
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..UPLOADERS {
        let (client, next) = (client.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if index >= count {
                    return anyhow::Ok(());
                }
                client.deploy(&format!("bench-turn-{index}"), &source(first_id + index as u64)).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("an uploader")??;
    }
    Ok(())
}

/// Call each script once. When not all images fit into the server's cache, each of these calls finds its script cold:
/// going around in a circle, the one that is needed next is always the one that was thrown out first.
async fn in_turn(client: &Client, first_id: u64, count: usize) -> anyhow::Result<Vec<Duration>> {
    eprintln!("{count} different scripts in turn");
    let begun_all = Instant::now();
    let mut times = Vec::new();
    for (index, id) in (first_id..).take(count).enumerate() {
        if begun_all.elapsed() > IN_TURN_LIMIT {
            eprintln!("stopped after {index}, because time was up");
            break;
        }
        let begun = Instant::now();
        call(client, &format!("bench-turn-{index}"), id).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// Call a script made by [`source`] and check that it is that one which answers.
async fn call(client: &Client, name: &str, id: u64) -> anyhow::Result<()> {
    let answer = client.call(name, Request::Get).await?;
    let value: serde_json::Value = serde_json::from_str(&answer.text).with_context(|| answer.text.clone())?;
    ensure!(value["id"] == id, "{name} answered {value}, not id {id}");
    Ok(())
}

/// A script that no other id makes, in one of four shapes from small to middling.
fn source(id: u64) -> String {
    match id % 4 {
        0 => format!("fn handle(req) {{ #{{ id: {id} }} }}\n"),
        1 => format!(
            "const ID = {id};\n\
             fn handle(req) {{\n    let sum = 0;\n    for i in 0..20 {{ sum += i * ID; }}\n    #{{ id: ID, sum: sum }}\n}}\n"
        ),
        2 => format!(
            "const STOCK = [\n{}];\n\
             fn handle(req) {{\n    let all = 0;\n    for item in STOCK {{ all += item.left; }}\n    #{{ id: {id}, all: all }}\n}}\n",
            (0..40).map(|i| format!("    #{{ name: \"item-{id}-{i}\", left: {i} }},\n")).collect::<String>()
        ),
        _ => format!(
            "{}fn handle(req) {{\n    let steps = [];\n    steps.push(step_7({id}));\n    #{{ id: {id}, steps: steps }}\n}}\n",
            (0..30)
                .map(|i| format!("fn step_{i}(n) {{\n    let text = `step {i} of ${{n}}`;\n    if n % 2 == 0 {{ text += \" even\"; }}\n    text\n}}\n\n"))
                .collect::<String>()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_share_a_source() {
        let sources: std::collections::BTreeSet<_> = (1000..1400).map(source).collect();
        assert_eq!(sources.len(), 400);
    }
}
