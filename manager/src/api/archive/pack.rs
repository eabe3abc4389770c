//! Writes an archive: a thread of its own compresses what is read from the database meanwhile, so that no more of it is in
//! memory than a few pieces.

use std::fs::File;
use std::io::{self, BufWriter, Read};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use picloud_host::ports::StoreError;
use serde::Serialize;
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::document::Member;
use crate::store::failed;

/// How many pieces wait to be compressed.
const WAITING: usize = 4;

/// How much is written to the disk at once, in bytes.
const BUFFER: usize = 256 << 10;

enum Piece {
    /// A file begins that has so many bytes.
    Member(Member, u64),
    /// The next bytes of the file.
    Data(Bytes),
    /// There is nothing more.
    End,
}

/// An archive that is being written.
pub(super) struct Packer {
    pieces: mpsc::Sender<Piece>,
    written: JoinHandle<io::Result<File>>,
}

impl Packer {
    /// Write into a file, whose members are of one moment.
    pub(super) fn start(file: File, at: Timestamp) -> Self {
        let (sender, pieces) = mpsc::channel(WAITING);
        let written = tokio::task::spawn_blocking(move || write(file, pieces, at));
        Self { pieces: sender, written }
    }

    /// Add a whole file.
    pub(super) async fn file(&self, member: Member, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.begin(member, bytes.len() as u64).await?;
        self.data(bytes).await
    }

    /// Add a JSON document.
    pub(super) async fn document(
        &self,
        member: Member,
        document: &(impl Serialize + Sync),
    ) -> Result<(), StoreError> {
        let mut text = serde_json::to_vec_pretty(document).map_err(failed)?;
        text.push(b'\n');
        self.file(member, text).await
    }

    /// Begin a file of so many bytes, which are to follow.
    pub(super) async fn begin(&self, member: Member, bytes: u64) -> Result<(), StoreError> {
        self.send(Piece::Member(member, bytes)).await
    }

    /// Add bytes to the file that was begun.
    pub(super) async fn data(&self, bytes: Vec<u8>) -> Result<(), StoreError> {
        if bytes.is_empty() { Ok(()) } else { self.send(Piece::Data(bytes.into())).await }
    }

    async fn send(&self, piece: Piece) -> Result<(), StoreError> {
        // Whoever has stopped to take them has said why.
        let sent = self.pieces.send(piece).await;
        sent.map_err(|_| StoreError("the archive cannot be written".to_owned()))
    }

    /// The file with all of it.
    pub(super) async fn finish(self) -> Result<File, StoreError> {
        let ended = self.send(Piece::End).await;
        let file = self.written.await.map_err(failed)?;
        ended?;
        file.map_err(|error| StoreError(error.to_string()))
    }
}

fn write(file: File, pieces: mpsc::Receiver<Piece>, at: Timestamp) -> io::Result<File> {
    let written = pack(file, pieces, at);
    if let Err(error) = &written {
        // Here, since those who send pieces learn only that they are not taken any more.
        tracing::error!(error = error as &dyn std::error::Error, "an archive cannot be written");
    }
    written
}

fn pack(file: File, mut pieces: mpsc::Receiver<Piece>, at: Timestamp) -> io::Result<File> {
    let buffer = BufWriter::with_capacity(BUFFER, file);
    let mut archive = Builder::new(GzEncoder::new(buffer, Compression::default()));
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Member(member, bytes)) => {
                let header = header(&member, bytes, at)?;
                let mut data = Data { pieces: &mut pieces, piece: Bytes::new(), left: bytes };
                archive.append(&header, &mut data)?;
                if !data.piece.is_empty() {
                    return Err(io::Error::other(format!("{member} is longer than it was said to be")));
                }
            }
            Some(Piece::End) => break,
            Some(Piece::Data(_)) | None => return Err(cut_off()),
        }
    }
    archive.into_inner()?.finish()?.into_inner().map_err(io::IntoInnerError::into_error)
}

fn header(member: &Member, bytes: u64, at: Timestamp) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    header.set_path(member.to_string())?;
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(at.as_second()).unwrap_or(0));
    header.set_cksum();
    Ok(header)
}

/// Whoever reads the database has given up, and has said why.
fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "what it was made of has ended early")
}

/// The bytes of one file.
struct Data<'a> {
    pieces: &'a mut mpsc::Receiver<Piece>,
    piece: Bytes,
    left: u64,
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && self.left > 0 {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => self.piece = bytes,
                _ => return Err(cut_off()),
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(self.piece.len()).min(most);
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        self.left -= count as u64;
        Ok(count)
    }
}
