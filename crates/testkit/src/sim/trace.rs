//! What happened in a world: a running hash of all of it, the faults that took effect, and the text
//! where someone wants to read it.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Mutex;

use super::world::lock;

/// The log of a world's events.
#[derive(Default)]
pub struct Trace(Mutex<Inner>);

struct Inner {
    hash: u64,
    events: u64,
    fired: BTreeMap<&'static str, u64>,
    lines: Option<Vec<String>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            fired: BTreeMap::new(),
            lines: None,
        }
    }
}

impl Trace {
    /// Keeps the text of each event from now on.
    pub fn keep_lines(&self) {
        lock(&self.0).lines = Some(Vec::new());
    }

    /// Takes note of an event.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let mut inner = lock(&self.0);
        inner.events += 1;
        let mut hasher = Fnv(inner.hash);
        writeln!(hasher, "{event}").expect("a hasher takes all that is written");
        inner.hash = hasher.0;
        if let Some(lines) = &mut inner.lines {
            lines.push(event.to_string());
        }
    }

    /// Takes note of a fault that took effect.
    pub fn fired(&self, fault: &'static str) {
        *lock(&self.0).fired.entry(fault).or_default() += 1;
        self.note(format_args!("fault: {fault}"));
    }

    /// How often each fault took effect.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).fired.clone()
    }

    /// Hash of all events so far, and their number.
    pub fn hash(&self) -> (u64, u64) {
        let inner = lock(&self.0);
        (inner.hash, inner.events)
    }

    /// The text of all events since [`Trace::keep_lines`].
    pub fn lines(&self) -> Vec<String> {
        lock(&self.0).lines.clone().unwrap_or_default()
    }
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}
