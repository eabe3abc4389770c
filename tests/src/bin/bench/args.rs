//! What can be chosen on the command line, and the sizes of a full and of a quick run.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Compare PiCloud with a native server without isolation, and measure a queue, uploads, cold scripts, starts and memory.

Usage: bench [--quick] [--picloud FILE | --picloud-url URL] [--baseline FILE]

  --quick            under a minute, for a first look; without it under four minutes
  --picloud FILE     the server to measure; default: `picloud` beside this program
  --picloud-url URL  measure a running server (started with --dev) instead; leaves out starts and memory
  --baseline FILE    default: baseline/release/picloud-baseline in the target directory
";

/// The choices of one run.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) picloud: PathBuf,
    pub(crate) picloud_url: Option<String>,
    pub(crate) baseline: PathBuf,
    pub(crate) size: Size,
}

/// How much is measured.
#[derive(Debug)]
pub(crate) struct Size {
    /// Seconds of one load run.
    pub(crate) seconds: u64,
    /// Pairs of load runs (baseline, PiCloud) for each script and number of connections.
    pub(crate) pairs: usize,
    /// Uploads that are timed up to the first answer.
    pub(crate) uploads: usize,
    /// Different scripts that are called in turn.
    pub(crate) scripts: usize,
    /// Starts that are timed up to the first answer.
    pub(crate) starts: usize,
    /// Events in the queue that is drained.
    pub(crate) events: usize,
}

const FULL: Size = Size { seconds: 2, pairs: 3, uploads: 20, scripts: 1000, starts: 10, events: 100_000 };
const QUICK: Size = Size { seconds: 1, pairs: 1, uploads: 5, scripts: 100, starts: 3, events: 5_000 };

impl Args {
    /// Read the command line. None when it asks for help.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let release = release_dir()?;
        let mut parsed = Self {
            picloud: release.join("picloud"),
            picloud_url: None,
            baseline: release.with_file_name("baseline").join("release/picloud-baseline"),
            size: FULL,
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--help" | "-h" => return Ok(None),
                "--quick" => parsed.size = QUICK,
                "--picloud" => parsed.picloud = value()?.into(),
                "--picloud-url" => parsed.picloud_url = Some(value()?.trim_end_matches('/').to_owned()),
                "--baseline" => parsed.baseline = value()?.into(),
                _ => bail!("unknown argument {arg}\n\n{USAGE}"),
            }
        }
        require(
            &parsed.baseline,
            "cd tests/baseline && CARGO_TARGET_DIR=../../target/baseline cargo build --release",
        )?;
        if parsed.picloud_url.is_none() {
            require(&parsed.picloud, "cargo build --release")?;
        }
        Ok(Some(parsed))
    }

    /// A new directory for data, logs and load scripts, removed when dropped. Beside this program, because the usual
    /// place for temporary files may be in memory, and then durable writes would cost nothing.
    pub(crate) fn work_dir() -> anyhow::Result<tempfile::TempDir> {
        let dir = release_dir()?;
        tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&dir)
            .with_context(|| format!("cannot make a directory in {}", dir.display()))
    }
}

/// The directory of this program, where cargo also puts the server.
fn release_dir() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(program.parent().map(Path::to_owned).unwrap_or_default())
}

fn require(file: &Path, command: &str) -> anyhow::Result<()> {
    ensure!(file.is_file(), "{} is not there; build it with: {command}", file.display());
    Ok(())
}
