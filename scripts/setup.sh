#!/bin/sh
# Installs what a build needs and is missing: a C compiler (SQLite is C) and the Rust target of the guest.
# With the argument `tests` also what only the tests need: an MQTT broker.
# The target is taken from wherever it can be had: already there, from rustup, from Debian's packages.
# Without root it prints the command to run.
set -eu

debian_packages="rustc-web cargo-web rust-web-src rust-web-llvm wasi-libc"

has_debian_toolchain() {
    [ -x /usr/bin/cargo ] && [ -f /usr/lib/wasm32-wasi/libc.a ] &&
        [ -f "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

has_target() {
    ls "$(rustc --print target-libdir --target wasm32-wasip1 2>/dev/null)"/libstd-* >/dev/null 2>&1
}

# apt-get as root; anybody else is told what to run.
install() {
    command="apt-get install --yes --no-install-recommends $*"
    if ! command -v apt-get >/dev/null; then
        echo "setup: this is no Debian; please install: $*" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        echo "setup: run this as root, then try again:" >&2
        echo "    apt-get update && $command" >&2
        exit 1
    fi
    apt-get update --quiet=2
    # shellcheck disable=SC2086 # the words of the command
    DEBIAN_FRONTEND=noninteractive $command --quiet=2 >/dev/null
}

# The linker of the target is a link to an LLVM of its own, whose package has its number in the name.
linker_package() {
    apt-get update --quiet=2 2>/dev/null || true
    apt-cache depends rust-web-llvm 2>/dev/null | sed -n 's/.*Depends: llvm-\([0-9]*\)$/lld-\1/p' | head -n 1
}

if ! command -v cargo >/dev/null; then
    echo "setup: Rust is missing; https://rustup.rs tells how to install it" >&2
    exit 1
fi
if ! command -v cc >/dev/null; then
    echo "setup: installing a C compiler"
    install gcc libc6-dev
fi
# The tests speak with a real MQTT broker.
if [ "${1:-}" = tests ] && ! { PATH="$PATH:/usr/sbin" command -v mosquitto && command -v mosquitto_sub; } >/dev/null; then
    echo "setup: installing an MQTT broker for the tests"
    install mosquitto mosquitto-clients
fi
if has_target || has_debian_toolchain; then
    exit 0
fi
if command -v rustup >/dev/null && timeout 120 rustup target add wasm32-wasip1; then
    exit 0
fi
echo "setup: installing Debian's toolchain for WebAssembly"
linker=$(linker_package)
# shellcheck disable=SC2086 # a list of packages
install $debian_packages ${linker:-lld-22}
