//! Reads an archive. Whoever has made it may mean harm: it is never unpacked to a disk, what is not known is refused, and
//! there are bounds on how much there is of everything.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom};

use flate2::bufread::GzDecoder;
use picloud_host::problem::{Code, Problem};
use tar::{Archive, Entry};

use super::document::Member;
use crate::store::failed;

/// The longest archive that is taken, in bytes.
pub(super) const MAX_PACKED: u64 = 4 << 30;

/// The most that may be in one, in bytes.
pub(super) const MAX_UNPACKED: u64 = 16 << 30;

/// The most files of an archive.
pub(super) const MAX_MEMBERS: usize = 200_000;

/// How much is read from the disk at once, in bytes.
const BUFFER: usize = 256 << 10;

/// The problem of an archive that is not understood.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::ArchiveInvalid).detail(detail)
}

/// The same, because of one file.
pub(super) fn wrong(member: &Member, why: impl std::fmt::Display) -> Problem {
    invalid(format!("{member}: {why}"))
}

/// Show every file of an archive, with its length. Each of them is known; whether it is there twice is for `visit` to say.
///
/// # Errors
///
/// `archive-invalid`, and what `visit` says.
pub(super) fn walk(
    file: &mut File,
    mut visit: impl FnMut(Member, u64, &mut dyn Read) -> Result<(), Problem>,
) -> Result<(), Problem> {
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let unpacked =
        Bounded { inner: GzDecoder::new(BufReader::with_capacity(BUFFER, file)), left: MAX_UNPACKED };
    let mut archive = Archive::new(unpacked);
    // Raw: longer names and other extensions would be read into memory, however long they are.
    for (count, entry) in archive.entries().map_err(unreadable)?.raw(true).enumerate() {
        if count >= MAX_MEMBERS {
            return Err(invalid(format!("It has more than {MAX_MEMBERS} files.")));
        }
        let mut entry = entry.map_err(unreadable)?;
        if let Some(member) = member(&entry)? {
            let size = entry.size();
            visit(member, size, &mut entry)?;
        }
    }
    ended(archive.into_inner())
}

/// What an entry is; none for a folder, as other programs add them.
fn member<R: Read>(entry: &Entry<'_, R>) -> Result<Option<Member>, Problem> {
    let path = entry.path_bytes();
    let shown = || String::from_utf8_lossy(&path).chars().take(100).collect::<String>();
    let kind = entry.header().entry_type();
    if kind.is_dir() && entry.size() == 0 {
        return Ok(None);
    }
    if !kind.is_file() {
        return Err(invalid(format!("{:?} is no plain file.", shown())));
    }
    let text = str::from_utf8(&path).ok().map(|path| path.strip_prefix("./").unwrap_or(path));
    let found = text.and_then(Member::parse);
    found.map(Some).ok_or_else(|| invalid(format!("{:?} is no file that an archive of an app has.", shown())))
}

/// Nothing but zeros follows, up to the end: only there the checksum shows whether all of it was right.
fn ended(mut rest: Bounded<GzDecoder<BufReader<&mut File>>>) -> Result<(), Problem> {
    let mut block = [0; 4096];
    loop {
        match rest.read(&mut block).map_err(unreadable)? {
            0 => break,
            count if block[..count].iter().all(|byte| *byte == 0) => {}
            _ => return Err(invalid("Something follows its last file.")),
        }
    }
    match rest.inner.into_inner().fill_buf().map_err(unreadable)? {
        [] => Ok(()),
        _ => Err(invalid("Something follows its end.")),
    }
}

/// All bytes of a file that has so many, `most` at most.
///
/// # Errors
///
/// `archive-invalid`.
pub(super) fn read_whole(
    member: &Member,
    size: u64,
    most: u64,
    data: &mut dyn Read,
) -> Result<Vec<u8>, Problem> {
    if size > most {
        return Err(wrong(member, format!("it has {size} bytes, but may have {most} at most")));
    }
    let mut bytes = Vec::new();
    data.take(most).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(wrong(member, "it ends early")) }
}

/// The problem of what cannot be read: whether the disk is at fault or whoever has made it.
pub(super) fn unreadable(error: io::Error) -> Problem {
    if error.raw_os_error().is_some() {
        return failed(error).into();
    }
    invalid(format!("It is no whole archive of the kind .tar.gz: {error}."))
}

/// What may be unpacked yet.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left =
            left.ok_or_else(|| io::Error::other(format!("it unpacks to more than {MAX_UNPACKED} bytes")))?;
        Ok(count)
    }
}
