//! Backups over REST: the whole database, while the server goes on.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use http::header;
use picloud_host::call::AppId;
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
    backups_and_imports: Arc<Semaphore>,
    exports: Arc<Semaphore>,
    sending: Arc<Mutex<HashSet<AppId>>>,
}

/// An archive of an app that is made or sent; the next one may be when this is dropped.
#[derive(Debug)]
pub(super) struct Sending {
    apps: Arc<Mutex<HashSet<AppId>>>,
    app: AppId,
}

impl Backups {
    /// The place for a backup, or for an archive that becomes an app.
    ///
    /// # Errors
    ///
    /// `saturated`: somebody else has it.
    pub(super) fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        place(&self.backups_and_imports, "Another backup is being made, or an archive taken.")
    }

    /// The place for an archive of an app: another one, so that whoever may see one app does not keep the server from being
    /// backed up by taking an archive slowly.
    ///
    /// # Errors
    ///
    /// `saturated`: somebody else has it.
    pub(super) fn turn_of_export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        place(&self.exports, "Another archive is being made.")
    }

    /// The place of an app for an archive of it, until all of it is sent.
    ///
    /// # Errors
    ///
    /// `saturated`: another one is being sent.
    pub(super) fn sending(&self, app: AppId) -> Result<Sending, Problem> {
        let mut apps = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if !apps.insert(app) {
            return Err(busy("Another archive of the app is being made or sent."));
        }
        Ok(Sending { apps: self.sending.clone(), app })
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.app);
    }
}

fn place(of: &Arc<Semaphore>, why: &str) -> Result<OwnedSemaphorePermit, Problem> {
    of.clone().try_acquire_owned().map_err(|_| busy(why))
}

fn busy(why: &str) -> Problem {
    Problem::new(Code::Saturated).detail(why).retry_after(RETRY_SECONDS)
}

impl Default for Backups {
    fn default() -> Self {
        Self {
            backups_and_imports: Arc::new(Semaphore::new(1)),
            exports: Arc::new(Semaphore::new(1)),
            sending: Arc::default(),
        }
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
        (status = 503, description = "`saturated`: another backup is being made, or an archive taken; `storage-unavailable`"),
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

/// All of a file from where it is read, and a place until then.
pub(super) fn send<P: Send + 'static>(
    file: File,
    length: u64,
    place: P,
    room: &AnswerRoom,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static + use<P> {
    stream::try_unfold((file, (place, room.sending(length))), next)
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
