//! The guest's machine code on disk, so that a start does not compile it again.
//!
//! A file is named after everything that it depends on and carries the hash of its content: one that is stale has
//! another name, one that is damaged does not match, and both are made anew. Whoever can write into the cache folder can
//! run code as the server; it is made for its owner only.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result};
use cap_std::fs::{Dir, OpenOptions};
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// A folder of compiled components.
pub struct AotCache {
    dir: Option<Dir>,
}

impl AotCache {
    /// Keep files in this folder.
    #[must_use]
    pub fn in_dir(dir: Dir) -> Self {
        Self { dir: Some(dir) }
    }

    /// Keep nothing: each start compiles.
    #[must_use]
    pub fn none() -> Self {
        Self { dir: None }
    }

    /// The compiled form of `wasm`, from a file if there is a good one.
    pub(crate) fn component(&self, engine: &Engine, wasm: &[u8]) -> Result<Component> {
        let Some(dir) = &self.dir else { return compile(engine, wasm) };
        let name = format!("{}.cwasm", file_key(engine, wasm));
        match load(dir, &name, engine) {
            Ok(component) => return Ok(component),
            Err(error) => {
                tracing::info!(reason = %error, "compiling the sandbox's code, which takes a few seconds")
            }
        }
        let component = compile(engine, wasm)?;
        if let Err(error) = save(dir, &name, &component) {
            tracing::warn!(%error, "cannot keep the sandbox's compiled code; the next start compiles it again");
        }
        Ok(component)
    }
}

fn compile(engine: &Engine, wasm: &[u8]) -> Result<Component> {
    Component::new(engine, wasm).map_err(anyhow::Error::from).context("cannot compile the sandbox's code")
}

/// Changes with the guest, with wasmtime, with its settings and with the processor's features.
fn file_key(engine: &Engine, wasm: &[u8]) -> String {
    use std::hash::{Hash as _, Hasher as _};
    // The compatibility hash can only be fed to a std hasher; its result is one part of the key.
    let mut compatibility = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut compatibility);
    let mut key = Sha256::new();
    key.update(wasm);
    key.update(compatibility.finish().to_le_bytes());
    key.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest file holds the SHA-256 of the code file beside it.
fn digest_name(name: &str) -> String {
    format!("{name}.sha256")
}

fn load(dir: &Dir, name: &str, engine: &Engine) -> Result<Component> {
    let mut file = dir.open(name).context("not in the cache")?;
    let mut code = Vec::new();
    file.read_to_end(&mut code)?;
    let expected = dir.read(digest_name(name)).context("the digest is missing")?;
    anyhow::ensure!(Sha256::digest(&code)[..] == expected[..], "the cached file is damaged");
    deserialize(engine, &code)
}

#[allow(unsafe_code, reason = "machine code from a file can only be trusted, not checked")]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component> {
    // SAFETY: the bytes come from a folder that only the owner of the process can write to, they have just been compared
    // with the digest written when this program made them, and wasmtime refuses code of other versions and settings.
    let component = unsafe { Component::deserialize(engine, code) };
    component.map_err(anyhow::Error::from).context("the cached file cannot be used")
}

/// Each file is written aside and renamed, and the digest comes first: a power cut leaves a pair that does not match.
fn save(dir: &Dir, name: &str, component: &Component) -> Result<()> {
    let code = component.serialize()?;
    for old in dir.entries()?.flatten() {
        // One server has one guest: what is left of an earlier version is waste.
        let _ = dir.remove_file(old.file_name());
    }
    write(dir, &digest_name(name), &Sha256::digest(&code))?;
    write(dir, name, &code)
}

fn write(dir: &Dir, name: &str, content: &[u8]) -> Result<()> {
    let temporary = format!("{name}.{}.tmp", std::process::id());
    let mut file = dir.open_with(&temporary, OpenOptions::new().write(true).create(true).truncate(true))?;
    file.write_all(content)?;
    file.sync_all()?;
    dir.rename(&temporary, dir, name)?;
    Ok(())
}
