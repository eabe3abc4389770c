//! Which scripts in a folder are saved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, timeout_at};

use crate::exit::CliError;

/// A save is over when nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(80);
/// And whoever saves without end is not waited for any longer.
const LONGEST: Duration = Duration::from_secs(1);

/// A folder that is watched as long as this is there.
pub(super) struct Watch {
    changes: UnboundedReceiver<notify::Result<Event>>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Begin to watch a folder. Folders in it are not looked into.
    pub(super) fn start(folder: &Path) -> Result<Self, CliError> {
        let wrong =
            |error: notify::Error| CliError::Failed(format!("cannot watch {}: {error}", folder.display()));
        let (send, changes) = unbounded_channel();
        // Nobody listens any more when this is ending.
        let handler = move |event| drop(send.send(event));
        let mut watcher = notify::recommended_watcher(handler).map_err(wrong)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(wrong)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Wait until scripts were saved, made or removed, and for a moment more, since saving takes several steps. Giving up
    /// waiting before there was anything loses nothing.
    pub(super) async fn changed(&mut self) -> Result<BTreeSet<PathBuf>, CliError> {
        let mut files = BTreeSet::new();
        while files.is_empty() {
            let event = self.changes.recv().await;
            files.extend(scripts(event.ok_or_else(gone)?)?);
        }
        let end = Instant::now() + LONGEST;
        while let Ok(event) = timeout_at(end.min(Instant::now() + QUIET), self.changes.recv()).await {
            files.extend(scripts(event.ok_or_else(gone)?)?);
            if Instant::now() >= end {
                break;
            }
        }
        Ok(files)
    }
}

fn gone() -> CliError {
    CliError::Failed("the folder is not watched any more".to_owned())
}

/// The scripts that something happened to.
fn scripts(event: notify::Result<Event>) -> Result<Vec<PathBuf>, CliError> {
    let event = event.map_err(|error| CliError::Failed(format!("cannot watch: {error}")))?;
    if matches!(event.kind, EventKind::Access(_)) {
        return Ok(Vec::new());
    }
    // What editors put beside a file has another ending, or a dot before its name.
    let is_script = |path: &PathBuf| {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        !hidden && path.extension().is_some_and(|extension| extension == "rhai")
    };
    Ok(event.paths.into_iter().filter(is_script).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scripts_that_are_saved_are_told_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("old.rhai"), "1").unwrap();
        let mut watch = Watch::start(folder.path()).unwrap();
        for _ in 0..3 {
            std::fs::write(at("a.rhai"), "1").unwrap();
        }
        std::fs::write(at("notes.txt"), "1").unwrap();
        std::fs::write(at(".a.rhai.rhai"), "1").unwrap();
        // As editors do it.
        std::fs::write(at("b.rhai~"), "1").unwrap();
        std::fs::rename(at("b.rhai~"), at("b.rhai")).unwrap();
        std::fs::remove_file(at("old.rhai")).unwrap();
        let mut changed = watch.changed().await.unwrap();
        // On a busy machine they may come in two parts.
        while changed.len() < 3 {
            changed.extend(watch.changed().await.unwrap());
        }
        let expected = BTreeSet::from(["a.rhai", "b.rhai", "old.rhai"].map(at));
        assert_eq!(changed, expected);
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_is_told() {
        let error = Watch::start(Path::new("/no/such")).map(drop).unwrap_err();
        assert!(error.to_string().contains("cannot watch /no/such: "), "{error}");
    }
}
