//! `picloud backup`: a copy of all that a server has, while it runs.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::interrupted;
use crate::args::BackupArgs;
use crate::client::Api;
use crate::client::http::Call;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::bytes;
use crate::secret_key::KEY_IS_NOT_IN_IT;

/// How long a server may be silent: it copies its database, or all of an app, before the first byte comes.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Write a backup to a file.
///
/// # Errors
///
/// The file is there already or cannot be written, the token may not do this, or the connection is lost.
pub async fn run(args: &BackupArgs, api: &Api, terminal: &mut Terminal) -> Result<(), CliError> {
    let size = download("/api/v1/backup", &args.file, api, terminal).await?;
    if terminal.json_wanted() {
        return terminal.json(&json!({ "file": args.file, "bytes": size }));
    }
    terminal.line(&format!("written  {}  {}", args.file.display(), bytes(size)))?;
    terminal.note(KEY_IS_NOT_IN_IT);
    Ok(())
}

/// Write what the server makes into a file, which appears under its name when all of it is there and on the disk.
///
/// # Errors
///
/// The file is there already, and those of [`run`].
pub(super) async fn download(
    from: &str,
    path: &Path,
    api: &Api,
    terminal: &Terminal,
) -> Result<u64, CliError> {
    if path == Path::new("-") {
        return Err(CliError::Usage("`-` is no file: this is not written to standard output".to_owned()));
    }
    if path.exists() {
        let file = path.display();
        return Err(CliError::Usage(format!("{file} is there already: no file is replaced")));
    }
    let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    // What another one has left, or put there to get at what is written.
    let _ = std::fs::remove_file(&part);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
    let call = Call { timeout: SILENCE, ..Call::api(Method::GET, from) };
    let bar = terminal.bytes_progress();
    let mut size = 0;
    let received = api.stream(call, |chunk, length| {
        file.write_all(chunk)?;
        size += chunk.len() as u64;
        bar.set_length(length.unwrap_or(size));
        bar.set_position(size);
        Ok(())
    });
    let received = tokio::select! {
        received = received => received,
        () = interrupted() => Err(CliError::Failed("interrupted; nothing was written".to_owned())),
    };
    let done = received.and_then(|()| file.sync_all().map_err(failed));
    bar.finish_and_clear();
    // A link fails if the name is there, where renaming would replace what has appeared meanwhile.
    let done = done.and_then(|()| std::fs::hard_link(&part, path).map_err(failed));
    let _ = std::fs::remove_file(&part);
    done.map(|()| size)
}
