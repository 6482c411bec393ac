//! Modules that are refused when they are loaded, or that only look as if they could be.

use wasmtime::{Config, Engine};

use super::Wanted::{Harmless, Refused};
use super::component::{HONEST, Lines, component, wat};
use super::{Guest, Kind, Wanted};
use crate::support::HOSTILE;

const fn kind(name: &'static str, lines: Lines, wanted: Wanted) -> Kind {
    Kind {
        name,
        guest: Guest::Component(lines),
        wanted,
    }
}

const fn module(name: &'static str, make: fn() -> Vec<u8>, wanted: Wanted) -> Kind {
    Kind {
        name,
        guest: Guest::Module(make),
        wanted,
    }
}

/// What `configure` does.
const fn configures(name: &'static str, configure: &'static str, wanted: Wanted) -> Kind {
    kind(
        name,
        Lines {
            configure,
            ..HONEST
        },
        wanted,
    )
}

const MORE_MEMORY: &str = "more memory than the limit of 67108864 bytes";

/// Every kind.
pub(super) const KINDS: &[Kind] = &[
    // What runs when it is loaded.
    configures(
        "configure: trap",
        "(unreachable)",
        Refused("cannot be started: it trapped: `configure`"),
    ),
    configures(
        "configure: endless loop",
        "(loop $on (br $on))",
        Refused("it took longer than the limit of 600ms"),
    ),
    configures(
        "configure: memory at once",
        "(if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1)) (then (unreachable)))",
        Refused(MORE_MEMORY),
    ),
    configures(
        "configure: refusal",
        "(local.set $a (call $new (i32.const 12)))
         (i32.store8 (local.get $a) (i32.const 1))
         (i32.store (i32.const 512) (i32.const 0x00006f6e))
         (i32.store offset=4 (local.get $a) (i32.const 512))
         (i32.store offset=8 (local.get $a) (i32.const 2))
         (return (local.get $a))",
        Refused("refuses its configuration: no"),
    ),
    configures(
        "configure: refusal of fifty megabytes",
        "(drop (memory.grow (i32.const 800)))
         (local.set $a (call $new (i32.const 12)))
         (i32.store8 (local.get $a) (i32.const 1))
         (i32.store offset=8 (local.get $a) (i32.const 52428800))
         (return (local.get $a))",
        Refused("its answer to `configure` is too long"),
    ),
    configures(
        "configure: neither",
        "(local.set $a (call $new (i32.const 12)))
         (i32.store8 (local.get $a) (i32.const 7))
         (return (local.get $a))",
        Refused("discriminant"),
    ),
    configures(
        "configure: log flood",
        "(local.set $a (i32.const 100000))
         (loop $on
            (call $log (i32.const 3) (i32.const 0) (i32.const 9))
            (local.set $a (i32.sub (local.get $a) (i32.const 1)))
            (br_if $on (local.get $a)))",
        Harmless,
    ),
    kind(
        "start function: trap",
        Lines {
            beside: "(func $s (unreachable)) (start $s)",
            ..HONEST
        },
        Refused("cannot be started: it trapped: `start`"),
    ),
    kind(
        "start function: endless loop",
        Lines {
            beside: "(func $s (loop $on (br $on))) (start $s)",
            ..HONEST
        },
        Refused("it took longer than the limit"),
    ),
    kind(
        "start function: memory at once",
        Lines {
            beside: "(func $s (if (i32.eq (memory.grow (i32.const 65000)) (i32.const -1))
                (then (unreachable)))) (start $s)",
            ..HONEST
        },
        Refused(MORE_MEMORY),
    ),
    // What it says that it needs.
    kind(
        "memory of four gigabytes from the start",
        Lines {
            memory: "65536",
            ..HONEST
        },
        Refused(MORE_MEMORY),
    ),
    kind(
        "forty memories of two megabytes",
        Lines {
            component: "(core module $big (memory 32))
                (core instance (instantiate $big)) (core instance (instantiate $big))
                (core instance (instantiate $big)) (core instance (instantiate $big))
                (core instance (instantiate $big)) (core instance (instantiate $big))
                (core instance (instantiate $big)) (core instance (instantiate $big))
                (core module $bigger
                    (memory 32) (memory 32) (memory 32) (memory 32) (memory 32) (memory 32)
                    (memory 32) (memory 32) (memory 32) (memory 32) (memory 32) (memory 32)
                    (memory 32) (memory 32) (memory 32) (memory 32) (memory 32) (memory 32)
                    (memory 32) (memory 32) (memory 32) (memory 32) (memory 32) (memory 32)
                    (memory 32) (memory 32) (memory 32) (memory 32) (memory 32) (memory 32)
                    (memory 32) (memory 32))
                (core instance (instantiate $bigger))",
            ..HONEST
        },
        Refused(MORE_MEMORY),
    ),
    kind(
        "table of ten million from the start",
        Lines {
            beside: "(table 10000000 funcref)",
            ..HONEST
        },
        Refused("a table of more than 200000 entries"),
    ),
    module(
        "a hundred instances",
        || component(&instances(100)),
        Refused("it has too many parts: resource limit exceeded: instance count"),
    ),
    // What it asks for.
    module(
        "import of WASI",
        || importing("wasi:filesystem/types@0.2.0"),
        Refused("imports `wasi:filesystem/types@0.2.0`, but a transform gets nothing except"),
    ),
    module(
        "import of something unknown",
        || importing("acme:database/client"),
        Refused("imports `acme:database/client`"),
    ),
    module(
        "import of another version",
        || importing("hydrant:transform/log@2.0.0"),
        Refused("built for another version of the contract"),
    ),
    module(
        "import of a thousand things",
        || {
            wat(&format!(
                "(component {})",
                many(1_000, |i| format!("(import \"a:b/c{i}\" (instance))"))
            ))
        },
        Refused("and 995 more"),
    ),
    module(
        "command that imports more than WASI",
        || {
            wat(
                r#"(module (import "env" "system" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
            )
        },
        Refused("imports `env.system`"),
    ),
    module(
        "command that imports another form of WASI",
        || {
            wat(
                r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64)))
            (memory (export "memory") 1) (func (export "_start")))"#,
            )
        },
        Refused("does not fit wasi_snapshot_preview1"),
    ),
    module(
        "command without a memory",
        || wat(r#"(module (func (export "_start")))"#),
        Refused("exports no `memory`"),
    ),
    module(
        "command whose memory is a function",
        || wat(r#"(module (func (export "_start")) (func (export "memory")))"#),
        Refused("exports no `memory`"),
    ),
    module(
        "command whose start takes an argument",
        || wat(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#),
        Refused("exports a `_start` that is no function of nothing"),
    ),
    module(
        "command whose start is a number",
        || {
            wat(
                r#"(module (memory (export "memory") 1) (global (export "_start") i32 (i32.const 1)))"#,
            )
        },
        Refused("exports a `_start` that is no function of nothing"),
    ),
    // What it is.
    module(
        "core module",
        || wat("(module)"),
        Refused("is a core module, and neither"),
    ),
    module(
        "component of another world",
        || {
            wat(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "f"))))"#,
            )
        },
        Refused("does not fit hydrant:transform@1.0.0"),
    ),
    module(
        "exports of other types",
        || {
            wat(
                r#"(component (core module $m (func (export "f"))) (core instance $i (instantiate $m))
            (func (export "configure") (canon lift (core func $i "f")))
            (func (export "transform") (canon lift (core func $i "f"))))"#,
            )
        },
        Refused("does not fit hydrant:transform@1.0.0"),
    ),
    module("nothing", Vec::new, Refused("is not WebAssembly")),
    module(
        "text",
        || b"(component)".to_vec(),
        Refused("is not WebAssembly"),
    ),
    module(
        "program of this machine",
        || b"\x7fELF\x02\x01\x01\0".to_vec(),
        Refused("is not WebAssembly"),
    ),
    module(
        "artefact that was compiled before",
        compiled_before,
        Refused("is not WebAssembly"),
    ),
    module(
        "64 MiB",
        || large(64 << 20),
        Refused("is 67108864 bytes, limit 33554432"),
    ),
    module("noise", noise, Refused("is corrupted")),
    // What is switched off.
    module(
        "shared memory",
        || wat("(component (core module (memory 1 2 shared)))"),
        Refused("uses what is switched off here"),
    ),
    module(
        "memory of 64 bits",
        || wat("(component (core module (memory i64 1)))"),
        Refused("uses what is switched off here"),
    ),
    module(
        "garbage collection",
        || wat("(component (core module (type (struct (field i32)))))"),
        Refused("uses what is switched off here"),
    ),
    // What takes its time to compile: it is compiled, or refused, and both within bounds.
    module("3,000 functions", || functions(3_000), Harmless),
    module(
        "100,001 functions",
        || functions(100_001),
        Refused("has more than 100000 functions, which would take too long to compile"),
    ),
    module(
        "a block in a block, 2,000 times",
        || nested("block ", 2_000),
        Harmless,
    ),
    module(
        "a block in a block, 50,000 times",
        || nested("block ", 50_000),
        Refused("has more than 100000000 levels of nested blocks"),
    ),
    module(
        "a condition in a condition, 50,000 times",
        || nested("i32.const 0 if ", 50_000),
        Refused("has more than 100000000 levels of nested blocks"),
    ),
    module(
        "a loop in a loop, 500 times",
        || nested("loop ", 500),
        Harmless,
    ),
    module(
        "a loop in a loop, 5,000 times",
        || nested("loop ", 5_000),
        Refused("has more than 2000000 levels of nested loops"),
    ),
    module(
        "a loop in a loop, 500 times in each of 50 functions",
        || with_core(&many(50, |_| format!("(func {})", nest("loop ", 500)))),
        Refused("has more than 2000000 levels of nested loops"),
    ),
    module(
        "function of a megabyte",
        || {
            with_core(&format!(
                "(func {})",
                "(drop (i32.mul (i32.const 1) (i32.const 2)))".repeat(150_000)
            ))
        },
        Harmless,
    ),
    module(
        "function that is too large",
        || {
            with_core(&format!(
                "(func {})",
                "i64.const 0x8000000000000000 drop ".repeat(700_000)
            ))
        },
        Refused("is corrupted, or uses what is switched off here"),
    ),
    module(
        "function of 50,001 variables",
        || with_core(&format!("(func (local {}))", "i64 ".repeat(50_001))),
        Refused("is corrupted, or uses what is switched off here"),
    ),
    module(
        "branch to 100,000 places",
        || {
            with_core(&format!(
                "(func (block (br_table {} (i32.const 1))))",
                "0 ".repeat(100_000)
            ))
        },
        Refused("`br_table` has 99999 targets"),
    ),
    module(
        "100,000 types",
        || with_core(&many(100_000, |_| "(type (func))".to_owned())),
        Harmless,
    ),
    module(
        "types that double 30 times",
        doubling,
        Refused("is corrupted"),
    ),
];

/// So many of something.
fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// An honest component with one more core module.
fn with_core(lines: &str) -> Vec<u8> {
    let component = format!("(core module $more {lines}) (core instance (instantiate $more))");
    component_of(component)
}

/// An honest component with this beside its parts.
fn component_of(lines: String) -> Vec<u8> {
    component(&Lines {
        component: String::leak(lines),
        ..HONEST
    })
}

fn functions(count: usize) -> Vec<u8> {
    with_core(&many(count, |_| "(func)".to_owned()))
}

fn nest(block: &str, levels: usize) -> String {
    format!("{}{}", block.repeat(levels), "end ".repeat(levels))
}

fn nested(block: &str, levels: usize) -> Vec<u8> {
    with_core(&format!("(func {})", nest(block, levels)))
}

fn instances(count: usize) -> Lines {
    let lines = many(count, |_| "(core instance (instantiate $one))".to_owned());
    Lines {
        component: String::leak(format!("(core module $one) {lines}")),
        ..HONEST
    }
}

fn importing(name: &str) -> Vec<u8> {
    wat(&format!("(component (import \"{name}\" (instance)))"))
}

/// A component of this size; what is in it is a custom section.
fn large(bytes: usize) -> Vec<u8> {
    let mut module = b"\0asm\x0d\0\x01\0".to_vec();
    module.resize(bytes, 0);
    module
}

/// Noise behind the header of a component.
fn noise() -> Vec<u8> {
    let mut module = b"\0asm\x0d\0\x01\0".to_vec();
    let mut state = 1_u32;
    module.extend((0..100_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    module
}

/// What `wasmtime compile` makes of a good component: machine code, which is never run from a file.
fn compiled_before() -> Vec<u8> {
    let engine = Engine::new(&Config::new()).unwrap();
    engine.precompile_component(HOSTILE).unwrap()
}

/// A type whose size is doubled again and again.
fn doubling() -> Vec<u8> {
    let types = many(30, |i| {
        let (next, before) = (i + 1, i);
        format!("(type $t{next} (tuple $t{before} $t{before}))")
    });
    wat(&format!("(component (type $t0 (tuple u8 u8)) {types})"))
}
