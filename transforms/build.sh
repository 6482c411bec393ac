#!/usr/bin/env bash
# Builds the guests of this folder as WebAssembly components and notes in modules.lock what they
# were built from, so that a test sees when a module is older than its sources.
#
#   transforms/build.sh          builds all guests
#
# Needs Debian's Rust for WebAssembly (it stands beside a rustup toolchain), wasm-ld and npm's jco.
# As root, what is missing is installed; else it is named.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")"

APT_PACKAGES="rustc-web cargo-web rust-web-src lld-19"
JCO=@bytecodealliance/jco@1.35.0

# Guest folder and where its module goes.
GUESTS="redact=redact/redact.wasm
web-events=web-events/web_events.wasm
testing/hostile=../crates/transform/tests/it/hostile.wasm"

target=${CARGO_TARGET_DIR:-$PWD/target}/guests
jco=$target/jco/node_modules/.bin/jco

need_toolchain() {
    local missing=()
    for package in $APT_PACKAGES; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ]; then
            echo "install these packages first: apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
        apt-get update
        apt-get install -y --no-install-recommends "${missing[@]}"
    fi
    if [ ! -x "$jco" ]; then
        command -v npm >/dev/null || { echo "install Node.js with npm first: $JCO comes from there" >&2; exit 1; }
        mkdir -p "$target/jco"
        npm install --silent --no-fund --no-audit --prefix "$target/jco" "$JCO"
    fi
}

build() {
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    local flags="--remap-path-prefix=$PWD=transforms"
    for index in "$registry"/*; do
        flags+=" --remap-path-prefix=$index=crates"
    done
    flags+=" --remap-path-prefix=/usr/lib/rustlib/src/rust=rust"
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_DIR="$target" \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$flags" \
        /usr/bin/cargo build --locked --release --target wasm32-unknown-unknown \
        -Z build-std=std,panic_abort --workspace
}

# SHA-256 over "digest  path" of everything that decides a guest's module, sorted by path.
sources_digest() {
    {
        printf '%s\n' Cargo.toml Cargo.lock wit/transform.wit sdk-rust/Cargo.toml "$1/Cargo.toml"
        find sdk-rust/src "$1/src" -type f
    } | sort | xargs sha256sum | sha256sum | cut -d' ' -f1
}

need_toolchain
build
echo "# Written by build.sh: guest, module, SHA-256 of its sources, SHA-256 of the module." > modules.lock
for line in $GUESTS; do
    guest=${line%%=*} module=${line#*=}
    name=$(basename "$module" .wasm)
    "$jco" new "$target/wasm32-unknown-unknown/release/$name.wasm" -o "$module" >/dev/null
    if grep -aqE "/(home|root|usr|tmp)/|$HOME/|$PWD" "$module"; then
        echo "$module contains a path of this machine" >&2
        exit 1
    fi
    echo "$guest $module $(sources_digest "$guest") $(sha256sum "$module" | cut -d' ' -f1)" >> modules.lock
    echo "$module: $(stat -c %s "$module") bytes"
done
