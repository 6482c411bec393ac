//! Modules that are refused, and what is said of them.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::Duration;

use hydrant_transform::{Limits, Settings, WasmEngine, WasmTransform};

use crate::kinds::honest;
use crate::support::{HOSTILE, apply, load, load_limited, log};

fn refused(module: &[u8]) -> String {
    load(module, "{}").err().unwrap().to_string()
}

/// An empty component, into which sections go.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

#[test]
fn what_is_no_component_of_ours_is_named() {
    let core = b"\0asm\x01\0\0\0";
    for (module, words) in [
        (&b""[..], "is not WebAssembly"),
        (b"(component)", "is not WebAssembly"),
        (b"\x7fELF\x02\x01\x01\0", "is not WebAssembly"),
        (b"\0asm", "is cut short"),
        (b"\0asm\x0d\0\x02\0", "unknown version"),
        (core, "is a core module, and neither"),
        (COMPONENT, "does not fit hydrant:transform@1.0.0"),
        (&HOSTILE[..HOSTILE.len() / 2], "is corrupted"),
    ] {
        let error = refused(module);
        assert!(
            error.starts_with("transform module ") && error.contains(words),
            "{error}"
        );
    }
}

/// An engine that compiles fast: what is tested here is what it takes, and not its speed.
static QUICK: LazyLock<WasmEngine> = LazyLock::new(|| WasmEngine::for_tests().unwrap());

/// Loads what was good before it was damaged, and calls it where it can be: it may be refused, or answer
/// anything for its records, but each of them is accounted for.
fn refused_or_harmless(module: &[u8]) -> bool {
    let settings = Settings {
        limits: Limits {
            time: Duration::from_millis(20),
            ..Limits::default()
        },
        ..Settings::default()
    };
    match WasmTransform::load(&QUICK, module, &settings, log().0) {
        Ok(transform) => {
            let outcomes = apply(&transform, &["same", "b"]);
            let ended: HashSet<u32> = (0..outcomes.len()).map(|i| outcomes.record(i)).collect();
            let failed = outcomes.failures.len() as u64;
            let ended = ended.len() as u64 + u64::from(outcomes.dropped);
            assert_eq!(ended + failed, 2);
            false
        }
        Err(error) => {
            assert!(
                error.to_string().starts_with("transform module "),
                "{error}"
            );
            true
        }
    }
}

#[test]
fn a_module_with_flipped_bytes_is_refused_or_harmless() {
    // A small one at every seventh byte, and a real one here and there.
    for (good, step) in [(honest(), 7), (HOSTILE.to_vec(), 97 * 11)] {
        let places: Vec<usize> = (8..good.len()).step_by(step).collect();
        let refused = places.iter().filter(|at| {
            let mut module = good.clone();
            module[**at] ^= 0x55;
            refused_or_harmless(&module)
        });
        let refused = refused.count();
        // Data may change without harm; code and types seldom.
        assert!(refused > places.len() / 5, "{refused} of {}", places.len());
    }
}

#[test]
fn a_module_that_is_cut_short_is_refused() {
    for length in (0..HOSTILE.len()).step_by(499) {
        assert!(refused_or_harmless(&HOSTILE[..length]), "{length} bytes");
    }
}

#[test]
fn a_large_module_is_refused_before_it_is_compiled() {
    let mut module = COMPONENT.to_vec();
    module.resize((32 << 20) + 1, 0);
    assert!(refused(&module).contains("is 33554433 bytes, limit 33554432"));
}

#[test]
fn an_import_of_anything_but_log_is_named() {
    // (component (import "wasi:cli/environment@0.2.0" (instance)))
    let name = b"wasi:cli/environment@0.2.0";
    let name_len = u8::try_from(name.len()).unwrap();
    let mut module = COMPONENT.to_vec();
    module.extend([7, 3, 1, 0x42, 0]); // types: one, an instance of no declarations
    module.extend([10, name_len + 5, 1, 0, name_len]); // imports: one, by name
    module.extend(name);
    module.extend([5, 0]); // an instance of type 0
    let error = refused(&module);
    assert!(
        error.contains("imports `wasi:cli/environment@0.2.0`"),
        "{error}"
    );
    assert!(
        error.contains("nothing except `hydrant:transform/log@1.0.0`"),
        "{error}"
    );
}

#[test]
fn a_configure_that_misbehaves_is_named() {
    let limits = Limits {
        time: Duration::from_millis(200),
        ..Limits::default()
    };
    let refused = |config, limits| {
        load_limited(HOSTILE, config, "", limits)
            .err()
            .unwrap()
            .to_string()
    };
    for (config, words) in [
        (
            r#"{"refuse":true}"#,
            "refuses its configuration: `refuse` was asked for",
        ),
        (r#"{"trap":true}"#, "cannot be started: it trapped"),
        (r#"{"loop":true}"#, "it took longer than the limit of 200ms"),
    ] {
        let error = refused(config, limits);
        assert!(error.contains(words), "{error}");
    }
    let tiny = Limits {
        memory_bytes: 1 << 16,
        ..limits
    };
    assert!(refused("{}", tiny).contains("more memory than the limit of 65536 bytes"));
}
