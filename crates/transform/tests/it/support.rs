//! Loading guests and making batches.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hydrant_core::outcomes::{Outcomes, Overruns};
use hydrant_core::stage::Transform;
use hydrant_core::{Digest, Position, Records, RecordsBuilder};
use hydrant_transform::{Error, GuestLevel, GuestLog, Limits, Settings, WasmEngine, WasmTransform};

pub(crate) static ENGINE: LazyLock<WasmEngine> = LazyLock::new(|| WasmEngine::new().unwrap());
pub(crate) static HOSTILE: &[u8] = include_bytes!("hostile.wasm");
pub(crate) static COMMAND: &[u8] = include_bytes!("command.wasm");

/// What a guest logged.
pub(crate) type Lines = Arc<Mutex<Vec<(GuestLevel, String)>>>;

pub(crate) fn transforms() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../transforms")
}

pub(crate) fn log() -> (GuestLog, Lines) {
    let lines = Lines::default();
    let sink = lines.clone();
    (
        Arc::new(move |level, line| sink.lock().unwrap().push((level, line.to_owned()))),
        lines,
    )
}

pub(crate) fn load(module: &[u8], config: &str) -> Result<Arc<WasmTransform>, Error> {
    // A busy machine makes no verdicts of time in tests of other things.
    let limits = Limits {
        time: Duration::from_mins(10),
        ..Limits::default()
    };
    load_limited(module, config, "clicks", limits)
}

pub(crate) fn load_limited(
    module: &[u8],
    config: &str,
    delivery_stream: &str,
    limits: Limits,
) -> Result<Arc<WasmTransform>, Error> {
    let settings = Settings {
        config_json: config.to_owned(),
        delivery_stream: delivery_stream.to_owned(),
        limits,
        ..Settings::default()
    };
    WasmTransform::load(&ENGINE, module, &settings, log().0)
}

/// A transform that is never blocked: these tests are about what it answers.
pub(crate) trait Answers {
    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Outcomes;

    fn digest(&self) -> Digest;
}

impl<T: Transform + ?Sized> Answers for T {
    fn apply(&self, batch: &Records, overruns: Overruns<'_>) -> Outcomes {
        Transform::apply(self, batch, overruns).expect("this machine can run it")
    }

    fn digest(&self) -> Digest {
        Transform::digest(self)
    }
}

pub(crate) fn hostile() -> Arc<WasmTransform> {
    load(HOSTILE, "{}").unwrap()
}

pub(crate) fn example(folder: &str, file: &str) -> Vec<u8> {
    fs::read(transforms().join(folder).join(file)).unwrap()
}

pub(crate) fn batch<S: AsRef<[u8]>>(records: &[S]) -> Records {
    let mut builder = RecordsBuilder::default();
    for (i, record) in (0_u64..).zip(records) {
        let key = format!("key-{i}");
        builder.push(
            Position::from_u64(100 + i),
            1_000 + i,
            key.as_bytes(),
            record.as_ref(),
        );
    }
    builder.build()
}

/// Outputs as text, in order.
pub(crate) fn texts(outcomes: &Outcomes) -> Vec<String> {
    (0..outcomes.len())
        .map(|i| String::from_utf8(outcomes.data(i).to_vec()).unwrap())
        .collect()
}

/// Record and code of each failure.
pub(crate) fn failures(outcomes: &Outcomes) -> Vec<(u32, &str)> {
    outcomes
        .failures
        .iter()
        .map(|f| (f.record, f.code.as_str()))
        .collect()
}

pub(crate) fn apply(transform: &WasmTransform, records: &[&str]) -> Outcomes {
    Answers::apply(transform, &batch(records), Overruns::Decide)
}

/// Everything that must be the same when a batch is done again; overruns are listed only once.
pub(crate) fn result(outcomes: &Outcomes) -> String {
    let outputs: Vec<_> = (0..outcomes.len())
        .map(|i| {
            (
                outcomes.record(i),
                outcomes.data(i).to_vec(),
                outcomes.partition_keys(i),
            )
        })
        .collect();
    format!("{outputs:?} {} {:?}", outcomes.dropped, outcomes.failures)
}
