//! Backups over REST: the whole database, while the server goes on.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use http::header;
use picloud_host::ingress::AnswerRoom;
use picloud_host::problem::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Admin;

/// What is read of a file at once, in bytes.
const CHUNK: usize = 256 << 10;

/// Seconds after which to try again while another backup is made.
const RETRY_SECONDS: u64 = 30;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_backup))
}

/// Gives out the places for what needs room on the disk and takes its time.
#[derive(Debug, Clone)]
pub struct Backups {
    server: Arc<Semaphore>,
    apps: Arc<Semaphore>,
}

impl Backups {
    /// The place for a backup, or for an archive that becomes an app.
    ///
    /// # Errors
    ///
    /// `saturated`: somebody else has it.
    pub(super) fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        place(&self.server)
    }

    /// The place for an archive of an app: another one, so that whoever may see one app does not keep the server from being
    /// backed up by taking an archive slowly.
    ///
    /// # Errors
    ///
    /// `saturated`: somebody else has it.
    pub(super) fn turn_of_app(&self) -> Result<OwnedSemaphorePermit, Problem> {
        place(&self.apps)
    }
}

fn place(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let busy = |_| {
        let detail = "Another backup or archive is being made or taken.";
        Problem::new(Code::Saturated).detail(detail).retry_after(RETRY_SECONDS)
    };
    of.clone().try_acquire_owned().map_err(busy)
}

impl Default for Backups {
    fn default() -> Self {
        Self { server: Arc::new(Semaphore::new(1)), apps: Arc::new(Semaphore::new(1)) }
    }
}

/// Get a copy of the whole database: apps, scripts, keys, events, tokens, secrets (encrypted), the audit log.
///
/// It is as everything was at one moment. The server goes on meanwhile, for reading and for writing. `picloud restore` takes
/// it. Not in it are the records of executions, and the key that secrets are encrypted with.
#[utoipa::path(
    get, path = "/api/v1/backup", tag = "backup", security(("token" = ["admin"])),
    responses(
        (status = 200, description = "An SQLite database.", body = Vec<u8>, content_type = "application/vnd.sqlite3"),
        (status = 503, description = "`saturated`: another backup or archive is being made or taken; `storage-unavailable`"),
    ),
)]
async fn get_backup(
    _: Admin,
    state: State,
    Extension(room): Extension<AnswerRoom>,
) -> Result<Response, Problem> {
    let turn = state.backups.turn()?;
    // A task of its own: a client that goes away must not leave a copy behind, or the place to another one while it is made.
    let made = tokio::spawn(async move {
        let path = state.store.copy_for_backup().await?;
        let opened = tokio::task::spawn_blocking(move || unlinked(&path)).await;
        let (file, length) =
            opened.map_err(|_| Problem::new(Code::Internal))?.map_err(crate::store::failed)?;
        Ok::<_, Problem>((file, length, turn))
    });
    let (file, length, turn) = made.await.map_err(|_| Problem::new(Code::Internal))??;
    let headers = [
        (header::CONTENT_TYPE, "application/vnd.sqlite3".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"picloud-backup.db\"".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, Body::from_stream(send(file, length, turn, &room))).into_response())
}

/// Open a file and take its name away, so that it goes when it is closed, however that comes. Returns its length, too.
fn unlinked(path: &Path) -> std::io::Result<(File, u64)> {
    let file = File::open(path)?;
    std::fs::remove_file(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// All of a file from where it is read, and the place until then.
pub(super) fn send(
    file: File,
    length: u64,
    turn: OwnedSemaphorePermit,
    room: &AnswerRoom,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static + use<> {
    stream::try_unfold((file, (turn, room.sending(length))), next)
}

/// The next piece of what is being sent, and what is held until its end.
async fn next<H: Send + 'static>((mut file, held): (File, H)) -> std::io::Result<Option<(Bytes, (File, H))>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk = Vec::with_capacity(CHUNK);
        file.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)?;
        Ok::<_, std::io::Error>((file, chunk))
    });
    let (file, chunk) = read.await.map_err(std::io::Error::other)??;
    Ok((!chunk.is_empty()).then(|| (chunk.into(), (file, held))))
}
