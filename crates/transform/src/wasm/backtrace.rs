//! Where in the guest a trap happened, as its functions are called: part of error objects, so the
//! same for the same module and record. Offsets are left out, and so are the frames of an
//! exhausted stack, which depend on the size of the machine's.

use wasmtime::WasmBacktrace;

use super::limits::truncated;

/// Functions that are named, innermost first: where it happened and how it came there.
const FRAMES_MAX: usize = 8;
/// Frames that the engine gathers: the machinery of a panic takes some ten of them.
pub(super) const GATHERED_MAX: usize = 24;
/// Bytes of a function's name that are kept: generic ones have no end.
const NAME_MAX_BYTES: usize = 96;
/// How the names of functions begin that only pass a panic on.
const MACHINERY: [&str; 10] = [
    "core::panicking::",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
    "core::str::slice_error_fail",
    "std::",
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::",
    "rust_panic",
    "__rust",
];

/// The functions of a trap, innermost first, as in `; in a < b < c`; empty where nothing is known.
pub(super) fn shown(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let names: Vec<String> = backtrace
        .frames()
        .iter()
        .map(|frame| match frame.func_name() {
            Some(name) => short(name),
            None => format!("function {}", frame.func_index()),
        })
        .collect();
    joined(&names)
}

fn joined(names: &[String]) -> String {
    let is_machinery = |name: &&String| {
        // As in `<std::io::Error as core::fmt::Debug>::fmt`.
        let path = name.trim_start_matches('<');
        MACHINERY.iter().any(|begin| path.starts_with(begin))
    };
    let skipped = names.iter().take_while(is_machinery).count();
    // Nothing but machinery is better than nothing.
    let from = if skipped == names.len() { 0 } else { skipped };
    let shown: Vec<&str> = names
        .iter()
        .skip(from)
        .take(FRAMES_MAX)
        .map(String::as_str)
        .collect();
    if shown.is_empty() {
        return String::new();
    }
    format!("; in {}", shown.join(" < "))
}

/// A function's name as its author wrote it, without the hash that the compiler adds.
fn short(name: &str) -> String {
    let plain = format!("{:#}", rustc_demangle::demangle(name));
    truncated(&plain, NAME_MAX_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    use super::{NAME_MAX_BYTES, joined, short};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| short(name)).collect()
    }

    #[test]
    fn names_are_those_of_the_source() {
        assert_eq!(
            short("_ZN6redact5paths4walk17h0123456789abcdefE"),
            "redact::paths::walk"
        );
        assert_eq!(short("main.transform"), "main.transform");
        assert_eq!(short(&"é".repeat(100)).len(), NAME_MAX_BYTES);
    }

    #[test]
    fn what_only_passes_a_panic_on_is_left_out() {
        let trace = names(&[
            "rust_panic",
            "core::panicking::panic_fmt",
            "a::b",
            "std::c",
            "d",
        ]);
        assert_eq!(joined(&trace), "; in a::b < std::c < d");
        assert_eq!(
            joined(&names(&["std::process::abort"])),
            "; in std::process::abort"
        );
        let own = names(&["<std::a as b>::c", "my_std::parse"]);
        assert_eq!(joined(&own), "; in my_std::parse");
        assert_eq!(joined(&[]), "");
        assert_eq!(joined(&names(&["f"; 30])).matches('f').count(), 8);
    }
}
