//! The interface `fs`: files in directories that the operator has granted.

mod files;
mod path;
mod session;

pub(crate) use session::FsSession;

use picloud_sdk_wit::picloud::sdk::fs::{Error, Host, Metadata, Page};

use crate::sandbox::CallState;
use crate::services::check;
use session::Place;

/// The outer error ends the call: ours. The inner one is for the script.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Most entries of one page.
const MAX_PAGE: u32 = 1000;

impl Host for CallState {
    async fn read(&mut self, path: String) -> Answer<Vec<u8>> {
        let place = check!(self.look(&path));
        let limit = self.limits.fs_file_bytes;
        let data = check!(place.run(move |dir, path| files::read(dir, path, limit)).await?);
        Ok(self.fs.count_read(data.len()).map(|()| data))
    }

    async fn read_range(&mut self, path: String, offset: u64, length: u32) -> Answer<Vec<u8>> {
        let place = check!(self.look(&path));
        check!(self.fs.size(length as usize));
        let data = check!(place.run(move |dir, path| files::read_range(dir, path, offset, length)).await?);
        Ok(self.fs.count_read(data.len()).map(|()| data))
    }

    async fn write(&mut self, path: String, data: Vec<u8>) -> Answer<()> {
        let place = check!(self.change(&path, &data));
        place.run(move |dir, path| files::write(dir, path, &data)).await
    }

    async fn append(&mut self, path: String, data: Vec<u8>) -> Answer<()> {
        let place = check!(self.change(&path, &data));
        place.run(move |dir, path| files::append(dir, path, &data)).await
    }

    async fn list(&mut self, path: String, after: Option<String>, limit: u32) -> Answer<Page> {
        let place = check!(self.look(&path));
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let page = check!(place.run(move |dir, path| files::list(dir, path, after.as_deref(), limit)).await?);
        let size = page.entries.iter().map(|entry| entry.name.len()).sum();
        Ok(self.fs.count_read(size).map(|()| page))
    }

    async fn stat(&mut self, path: String) -> Answer<Option<Metadata>> {
        let place = check!(self.look(&path));
        place.run(files::stat).await
    }

    async fn remove(&mut self, path: String) -> Answer<bool> {
        let place = check!(self.change(&path, &[]));
        place.run(files::remove).await
    }

    async fn make_directory(&mut self, path: String) -> Answer<bool> {
        let place = check!(self.change(&path, &[]));
        place.run(files::make_directory).await
    }
}

impl CallState {
    /// The place of a path, for a function that changes nothing.
    fn look(&mut self, path: &str) -> Result<Place, Error> {
        self.outside = true;
        self.fs.place(path)
    }

    /// The place of a path, for a function that writes `data` there. From here on the call must not run again.
    fn change(&mut self, path: &str, data: &[u8]) -> Result<Place, Error> {
        let place = self.look(path)?;
        place.writable()?;
        self.fs.size(data.len())?;
        self.fs.count_written(data.len())?;
        self.irrevocable = true;
        Ok(place)
    }
}
