#!/usr/bin/env bash
# Builds the guests of this folder as WebAssembly components and notes in modules.lock what they
# were built from, so that a test sees when a module is older than its sources.
#
#   transforms/build.sh                    builds all guests
#   HYDRANT=FILE transforms/build.sh       by this binary of hydrant, and not the one that cargo builds
#
# Needs Debian's Rust for WebAssembly (it stands beside a rustup toolchain), wasm-ld and npm's jco.
# As root, what is missing is installed; else it is named.
set -euo pipefail
export LC_ALL=C
# Before the folder changes, as it may count from where this was called.
HYDRANT=${HYDRANT:+$(realpath "$HYDRANT")}
cd "$(dirname "$0")"

APT_PACKAGES="rustc-web cargo-web rust-web-src lld-19 clang-19 wasi-libc libclang-rt-19-dev-wasm32"
JCO=@bytecodealliance/jco@1.35.0

# Transforms that `hydrant transform build` builds, as a user would.
EXAMPLES="redact=redact/redact.wasm
web-events=web-events/web_events.wasm
bench=bench/bench.wasm
examples/csv-to-json/rust=examples/csv-to-json/rust/csv_to_json.wasm
examples/log-to-json/rust=examples/log-to-json/rust/log_to_json.wasm
examples/split-array=examples/split-array/split_array.wasm
examples/dedupe-key=examples/dedupe-key/dedupe_key.wasm
examples/enrich=examples/enrich/enrich.wasm
examples/log-to-json/c=examples/log-to-json/c/log_to_json.wasm
examples/redact/c=examples/redact/c/redact.wasm
examples/csv-to-json/c=examples/csv-to-json/c/csv_to_json.wasm"

# Guests of tests: folder, and where the module goes.
GUESTS="testing/hostile=../crates/transform/tests/it/hostile.wasm
testing/wasi=../crates/transform/tests/it/wasi_guest.wasm"

# Commands in C, each with hydrant.c of the templates.
COMMANDS="testing/command=../crates/transform/tests/it/command.wasm"

# Kept for ever as it was built when its contract came out: built only where it is missing.
FROZEN="contract=../crates/transform/tests/it/contract-1.0.wasm"

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
    local flags=""
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
        [ ! -d "$1/wit" ] || find "$1/wit" -type f
    } | sort | xargs sha256sum | sha256sum | cut -d' ' -f1
}

# SHA-256 of what decides an example: as a guest, with what it says of itself.
transform_digest() {
    {
        case $1 in
            # What it has of the templates it links to.
            */c) find "$1" -name '*.[ch]' ;;
            *) printf '%s\n' Cargo.toml Cargo.lock wit/transform.wit sdk-rust/Cargo.toml "$1/Cargo.toml"; find sdk-rust/src "$1/src" -type f ;;
        esac
        find "$1" -maxdepth 1 '(' -name transform.yaml -o -name config.schema.json ')'
    } | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1
}

# SHA-256 of what decides a command.
command_digest() {
    find templates/c/hydrant.[ch] "$1" -name '*.[ch]' | sort | xargs sha256sum | sha256sum | cut -d' ' -f1
}

compile_command() {
    clang-19 --target=wasm32-wasi --sysroot=/usr -O2 -Wall -Wextra -fuse-ld=/usr/bin/wasm-ld-19 -Wl,--strip-debug \
        -Itemplates/c "$1"/*.c templates/c/hydrant.c -o "$2"
}

component() {
    "$jco" new "$target/wasm32-unknown-unknown/release/$1.wasm" -o "$2" >/dev/null
    no_paths_in "$2"
    echo "$2: $(stat -c %s "$2") bytes"
}

# The binary of hydrant: the one that is named, or the one that cargo builds.
hydrant_binary() {
    if [ -z "$HYDRANT" ]; then
        (cd .. && cargo build -q)
        HYDRANT=$(cd .. && cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/hydrant
    fi
}

# A transform by hydrant's own command.
transform() {
    CARGO_TARGET_DIR="$target" "$HYDRANT" transform build "$1"
    no_paths_in "$2"
}

no_paths_in() {
    if grep -aqE "/(home|root|usr|tmp)/|$HOME/|$PWD" "$1"; then
        echo "$1 contains a path of this machine" >&2
        exit 1
    fi
}

need_toolchain
hydrant_binary
build
[ -e "${FROZEN#*=}" ] || component "${FROZEN%%=*}" "${FROZEN#*=}"
echo "# Written by build.sh: guest, module, SHA-256 of its sources, SHA-256 of the module." > modules.lock
# By other compilers the same sources give other bytes: only by these are they compared.
echo "# Rust of $(/usr/bin/rustc --version)" >> modules.lock
echo "# C of $(clang-19 --version | head -n 1), libc.a $(sha256sum /usr/lib/wasm32-wasi/libc.a | cut -d' ' -f1)" >> modules.lock
for line in $EXAMPLES; do
    transform "${line%%=*}" "${line#*=}"
    echo "${line%%=*} ${line#*=} $(transform_digest "${line%%=*}") $(sha256sum "${line#*=}" | cut -d' ' -f1)" >> modules.lock
done
for line in $GUESTS; do
    guest=${line%%=*} module=${line#*=}
    name=$(basename "$module" .wasm)
    component "$name" "$module"
    echo "$guest $module $(sources_digest "$guest") $(sha256sum "$module" | cut -d' ' -f1)" >> modules.lock
done
for line in $COMMANDS; do
    compile_command "${line%%=*}" "${line#*=}"
    echo "${line%%=*} ${line#*=} $(command_digest "${line%%=*}") $(sha256sum "${line#*=}" | cut -d' ' -f1)" >> modules.lock
done
