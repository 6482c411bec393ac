//! Modules that are refused, and what is said of them.

use std::time::Duration;

use hydrant_transform::Limits;

use crate::support::{HOSTILE, load, load_limited};

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

#[test]
fn a_module_with_flipped_bytes_is_refused_or_harmless() {
    for at in (8..HOSTILE.len()).step_by(HOSTILE.len() / 12) {
        let mut module = HOSTILE.to_vec();
        module[at] ^= 0x55;
        // Data may change without harm; nothing may crash the host.
        drop(load(&module, "{}"));
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
