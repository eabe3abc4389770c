//! Images: the memory of a sandbox that has loaded a script, from which every call starts.

mod cache;
mod encode;

pub(crate) use cache::ImageCache;
pub use cache::ImageStats;
pub(crate) use encode::{encode, resident_bytes};

use picloud_sdk_wit::ScriptPre;

use crate::loader::LoadReport;
use crate::sandbox::CallState;

/// A script ready to be called.
pub(crate) struct Image {
    /// Instantiates the guest with the image as its memory.
    pub(crate) pre: ScriptPre<CallState>,
    /// What the script can do, and what loading it cost.
    pub(crate) report: LoadReport,
    /// Its functions that test it.
    pub(crate) tests: Vec<String>,
}

impl Image {
    /// What keeping it costs, in bytes: once as data of the module, once as the file that slots map; and what wasmtime
    /// keeps for any module.
    pub(crate) fn cost(&self) -> usize {
        const FIXED: usize = 48 << 10;
        usize::try_from(self.report.image_bytes).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(FIXED)
    }
}
