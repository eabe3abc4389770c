//! Finds a Rust toolchain that can build for wasm32-wasip1, and builds the guest with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// The target of the guest.
const TARGET: &str = "wasm32-wasip1";

/// What to tell somebody who has no such toolchain.
pub(crate) const MISSING: &str = "PiCloud's guest needs the Rust target wasm32-wasip1, which is not installed. One of:
    make setup
    rustup target add wasm32-wasip1
    apt-get install --no-install-recommends rustc-web cargo-web rust-web-src rust-web-llvm lld-22 wasi-libc    (Debian)";

/// Variables that an outer cargo sets for its own build and that must not reach the inner one.
const NOT_INHERITED: &[&str] = &[
    "RUSTC",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTUP_TOOLCHAIN",
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "CLIPPY_ARGS",
];

/// A way to build for the target.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// The outer build's own toolchain, which has the target's standard library.
    Own {
        /// The cargo to run.
        cargo: OsString,
        /// The compiler, as the outer cargo names it.
        rustc: OsString,
    },
    /// Debian's packages rustc-web and rust-web-src: no standard library for the target, but its source.
    Debian,
}

impl Toolchain {
    /// The toolchain to use; none when there is none.
    ///
    /// `PICLOUD_GUEST_TOOLCHAIN` (`own` or `debian`) chooses one, for comparing them.
    pub(crate) fn find() -> Result<Option<Self>> {
        let own = Self::own;
        match std::env::var("PICLOUD_GUEST_TOOLCHAIN").as_deref() {
            Ok("own") => own(),
            Ok("debian") => Ok(Some(Self::Debian)),
            Ok(other) => bail!("PICLOUD_GUEST_TOOLCHAIN is {other:?}, but must be own or debian"),
            Err(_) => Ok(own()?.or_else(|| debian_is_there().then_some(Self::Debian))),
        }
    }

    fn own() -> Result<Option<Self>> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            .output()
            .with_context(|| format!("cannot run {}", rustc.display()))?;
        let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let has_std = std::fs::read_dir(libdir).is_ok_and(|dir| {
            dir.flatten().any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
        });
        Ok((output.status.success() && has_std).then_some(Self::Own { cargo, rustc }))
    }

    /// Build the guest and return the path of the core module.
    pub(crate) fn build(&self, guest: &Path, target_dir: &Path) -> Result<PathBuf> {
        // Each toolchain has a folder of its own, so that changing between them mixes nothing.
        let target_dir = target_dir.join(match self {
            Self::Own { .. } => "own",
            Self::Debian => "debian",
        });
        let mut command = self.command();
        for name in NOT_INHERITED {
            command.env_remove(name);
        }
        for (name, _) in std::env::vars_os() {
            // Profile overrides and cargo's description of the outer package.
            if name.to_string_lossy().starts_with("CARGO_PROFILE_") {
                command.env_remove(name);
            }
        }
        self.set_environment(&mut command);
        let status = command
            .current_dir(guest)
            // The crate is also an rlib, for its tests; link-time optimization is left out where that is built as well.
            .args(["rustc", "--release", "--locked", "--lib", "--crate-type", "cdylib"])
            .args(["--target", TARGET, "--target-dir"])
            .arg(&target_dir)
            .status()
            .context("cannot run the inner cargo")?;
        ensure!(status.success(), "building the guest failed ({status}); its messages are above");
        let core = target_dir.join(TARGET).join("release/picloud_guest.wasm");
        ensure!(core.exists(), "building the guest made no {}", core.display());
        Ok(core)
    }

    /// What the compiler calls itself.
    pub(crate) fn compiler(&self) -> Result<String> {
        let rustc = match self {
            Self::Own { rustc, .. } => rustc.as_os_str(),
            Self::Debian => "/usr/bin/rustc".as_ref(),
        };
        let output = Command::new(rustc)
            .arg("--version")
            .output()
            .with_context(|| format!("cannot run {}", rustc.display()))?;
        ensure!(output.status.success(), "{} --version failed ({})", rustc.display(), output.status);
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn command(&self) -> Command {
        match self {
            Self::Own { cargo, .. } => Command::new(cargo),
            Self::Debian => {
                let mut command = Command::new("/usr/bin/cargo");
                command.arg("-Zbuild-std=std,panic_abort");
                command
            }
        }
    }

    fn set_environment(&self, command: &mut Command) {
        // Hash seeds are part of the image and of what a call costs: the same in every build of the same source.
        command.env("CONST_RANDOM_SEED", "picloud");
        match self {
            Self::Own { rustc, .. } => {
                command.env("RUSTC", rustc);
            }
            Self::Debian => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let paths = std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path));
                command
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("RUSTC", "/usr/bin/rustc")
                    // Debian's target has libc but no crt files, and none are needed: there is no `_initialize`.
                    .env("RUSTFLAGS", "-L native=/usr/lib/wasm32-wasi -C link-self-contained=no")
                    .env("PATH", std::env::join_paths(paths).unwrap_or(path));
            }
        }
    }
}

/// Compiler, cargo, the standard library's source, the linker and libc.
fn debian_is_there() -> bool {
    let sysroot = Command::new("/usr/bin/rustc").args(["--print", "sysroot"]).output();
    let source = sysroot.is_ok_and(|output| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        sysroot.join("lib/rustlib/src/rust/library/std/Cargo.toml").exists()
    });
    source && Path::new("/usr/bin/cargo").exists() && Path::new("/usr/lib/wasm32-wasi/libc.a").exists()
}
