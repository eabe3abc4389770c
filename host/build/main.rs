//! Builds the guest for wasm32-wasip1 and makes two files of it in `OUT_DIR`: `guest.component.wasm`, which imports its
//! memory, and `blank.image.wasm`, the memory of a guest that has loaded no script yet.

mod blank;
mod link;
mod parts;
mod split;
mod toolchain;
mod trim;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::toolchain::Toolchain;

fn main() -> Result<()> {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let root =
        PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").context("cargo sets CARGO_MANIFEST_DIR")?)
            .join("..")
            .canonicalize()?;
    for path in ["guest/src", "guest/Cargo.toml", "guest/Cargo.lock", "sdk-wit", "host/build"] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo::rerun-if-env-changed=PICLOUD_GUEST_TOOLCHAIN");

    let Some(toolchain) = Toolchain::find()? else {
        anyhow::ensure!(only_checking(), "{}", toolchain::MISSING);
        println!("cargo::warning=the target wasm32-wasip1 is missing, so this build cannot run scripts");
        std::fs::write(out.join("guest.component.wasm"), [])?;
        std::fs::write(out.join("blank.image.wasm"), [])?;
        println!("cargo::rustc-env=PICLOUD_GUEST_COMPILER=none");
        return Ok(());
    };
    println!("cargo::rustc-env=PICLOUD_GUEST_COMPILER={}", toolchain.compiler()?);
    let core = toolchain.build(&root.join("guest"), &target_dir(&out)?)?;
    componentize(&core, &out).with_context(|| format!("cannot make a component of {}", core.display()))
}

/// The core module of the guest becomes a component without the preview1 adapter, and then one that imports its memory.
fn componentize(core: &Path, out: &Path) -> Result<()> {
    let core = trim::trim(&std::fs::read(core)?)?;
    let whole = wit_component::ComponentEncoder::default().validate(true).module(&core)?.encode()?;
    let parts = parts::Parts::read(&whole)?;
    let split = split::split(parts.main_module()?)?;
    let component = link::link(&parts, &split.module, split.memory)?;
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&component)
        .context("the component that was put together is not valid")?;
    std::fs::write(out.join("guest.component.wasm"), &component)?;
    std::fs::write(out.join("blank.image.wasm"), blank::encode(&split))?;
    Ok(())
}

/// Clippy and rust-analyzer only look at the code; a stub is enough for them.
fn only_checking() -> bool {
    let wrapper = |name| std::env::var(name).unwrap_or_default();
    wrapper("RUSTC_WORKSPACE_WRAPPER").contains("clippy-driver")
        || wrapper("RUSTC_WRAPPER").contains("rust-analyzer")
        || std::env::var_os("RA_RUSTC_WRAPPER").is_some()
}

/// `target/guest`, shared by every profile: `OUT_DIR` is `target/<profile>/build/<package>/out`.
fn target_dir(out: &Path) -> Result<PathBuf> {
    Ok(out.ancestors().nth(4).context("OUT_DIR is not below a target directory")?.join("guest"))
}
