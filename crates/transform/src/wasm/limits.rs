//! What a guest may take, and the state of one call that keeps count of it.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{ResourceLimiter, StoreContextMut};

use super::bindings::Level;
use super::command::Process;
use super::world::World;

/// Largest module that is taken.
pub(super) const MODULE_MAX_BYTES: usize = 32 << 20;
/// Outputs of a micro-batch may be so many times as large as its records.
const OUTPUT_FACTOR: usize = 16;
/// Outputs of a micro-batch stay far enough below the 4 GiB of an arena.
const OUTPUT_MAX_BYTES: usize = 1 << 30;
/// Bytes of log lines that a call may write.
const LOG_MAX_BYTES: usize = 64 << 10;
/// How the message of a Rust panic begins, as the SDK logs it.
const PANIC: &str = "panicked at ";
/// Bytes that are kept of a message for the error output.
pub(super) const MESSAGE_MAX_BYTES: usize = 1 << 10;
/// Entries of all tables of a call; the largest language runtimes have some ten thousand functions.
pub(super) const TABLE_MAX_ENTRIES: usize = 200_000;
/// Core instances, memories and tables of a call: a component of a few adapters has about ten.
const PARTS_MAX: usize = 64;

/// Limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, all memories together.
    pub memory_bytes: usize,
    /// Time of a call for a whole micro-batch; parts of one get less.
    pub time: Duration,
    /// Outputs of a micro-batch may be so large, or 16 times as large as its records, whichever
    /// is more.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            time: Duration::from_secs(10),
            output_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// The limit of outputs for a micro-batch of so many bytes.
    pub(super) fn output_limit(&self, input_bytes: usize) -> usize {
        input_bytes
            .saturating_mul(OUTPUT_FACTOR)
            .max(self.output_bytes)
            .min(OUTPUT_MAX_BYTES)
    }
}

/// Severity of a guest's log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuestLevel {
    /// For whoever writes the transform.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is odd.
    Warn,
    /// Something failed.
    Error,
}

/// Takes what a guest logs, but for its panics, which may hold bytes of a record; called on the thread of the call. Limiting the rate is its matter.
pub type GuestLog = Arc<dyn Fn(GuestLevel, &str) + Send + Sync>;

/// The state of one call.
pub(super) struct State {
    memory_left: usize,
    table_left: usize,
    log_left: usize,
    log: GuestLog,
    /// A memory or a table was refused because of the limit.
    pub(super) refused: bool,
    /// And the first one of these was a table.
    pub(super) is_table: bool,
    /// The machine had no memory for a growth that the limit allows.
    pub(super) exhausted: bool,
    /// The last line that the guest logged as an error: the message of a panic.
    pub(super) last_error: Option<String>,
    /// What a guest with WASI sees.
    pub(super) world: World,
    /// What a command has.
    pub(super) process: Process,
}

impl State {
    pub(super) fn new(limits: &Limits, log: GuestLog) -> Self {
        Self {
            memory_left: limits.memory_bytes,
            table_left: TABLE_MAX_ENTRIES,
            log_left: LOG_MAX_BYTES,
            log,
            refused: false,
            is_table: false,
            exhausted: false,
            last_error: None,
            world: World::default(),
            process: Process::default(),
        }
    }

    /// Makes ready for one more call of the same instance. What it has of memory and tables, it keeps.
    pub(super) fn begin_again(&mut self) {
        self.log_left = LOG_MAX_BYTES;
        self.last_error = None;
        // A growth that was refused is told of in the call that asked for it.
        self.refused = false;
        self.is_table = false;
    }

    /// Linear memory that was taken of so much.
    pub(super) fn memory_used(&self, limits: &Limits) -> usize {
        limits.memory_bytes.saturating_sub(self.memory_left)
    }

    /// What the guest said last of what went wrong.
    pub(super) fn last_words(&self) -> Option<String> {
        self.last_error.clone().or_else(|| self.world.last_words())
    }

    /// Logs what a guest with WASI wrote to its standard error in a call that went well; of another
    /// one it goes to the error output, as it may hold bytes of a record.
    pub(super) fn log_stderr(&mut self) {
        let text = self.world.take_stderr();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if self.log_left == 0 {
                break;
            }
            let line = truncated(line, self.log_left);
            self.log_left -= line.len().max(16).min(self.log_left);
            (self.log)(GuestLevel::Info, line);
        }
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        if more > self.memory_left {
            self.refused = true;
            return Ok(false);
        }
        self.memory_left -= more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        self.exhausted = true;
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        if more > self.table_left {
            self.is_table |= !self.refused;
            self.refused = true;
            return Ok(false);
        }
        self.table_left -= more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS_MAX
    }

    fn tables(&self) -> usize {
        PARTS_MAX
    }

    fn memories(&self) -> usize {
        PARTS_MAX
    }
}

/// Takes a line of the guest's log: as much of it as the call may still write. The message of a
/// panic is kept for the error output only.
pub(super) fn write_log(
    mut store: StoreContextMut<'_, State>,
    level: Level,
    message: &wasmtime::component::WasmStr,
) -> wasmtime::Result<()> {
    let left = store.data().log_left;
    if left == 0 {
        return Ok(());
    }
    let line = {
        let whole = message.to_str(&store)?;
        truncated(&whole, left).to_owned()
    };
    let state = store.data_mut();
    // An empty line costs something too, so that their number is limited.
    state.log_left = left.saturating_sub(line.len().max(16));
    let level = match level {
        Level::Debug => GuestLevel::Debug,
        Level::Info => GuestLevel::Info,
        Level::Warn => GuestLevel::Warn,
        Level::Error => GuestLevel::Error,
    };
    let is_panic = level == GuestLevel::Error && line.starts_with(PANIC);
    if !is_panic {
        (state.log)(level, &line);
    }
    if level == GuestLevel::Error {
        state.last_error = Some(line);
    }
    Ok(())
}

/// The longest beginning of `text` that has at most `bytes` bytes and ends between characters.
pub(super) fn truncated(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{Limits, truncated};

    #[test]
    fn truncates_between_characters() {
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("aé", 3), "aé");
        assert_eq!(truncated("aé", 9), "aé");
    }

    #[test]
    fn the_output_limit_grows_with_the_input_and_stays_below_an_arena() {
        let limits = Limits::default();
        assert_eq!(limits.output_limit(0), 8 << 20);
        assert_eq!(limits.output_limit(1 << 20), 16 << 20);
        assert_eq!(limits.output_limit(usize::MAX), 1 << 30);
    }
}
