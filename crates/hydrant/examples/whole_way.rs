//! Measures the whole way at full speed: embedded stream and its log, NDJSON, GZIP level 6, into a
//! directory. Prints CPU seconds per GB, and the ratio to a reference loop of the same run.
//!
//! `cargo run --release --example whole_way [RECORDS]`. The producer is not counted: all records
//! are made before the clock starts.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use hydrant::demo::Events;
use hydrant::runtime::RealClock;
use hydrant::service::Service;
use hydrant_core::clock::Clock;
use hydrant_log::stream::{PutEntry, Stream};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;

/// Bytes that the reference loop compresses at once (performance reference, section 6).
const REFERENCE_BYTES: usize = 5_000_000;
/// The budget for this way (performance reference, section 5).
const BUDGET: f64 = 10.0;

fn main() -> anyhow::Result<()> {
    let records: usize = match std::env::args().nth(1) {
        Some(text) => text.parse().context("RECORDS is a number")?,
        None => 400_000,
    };
    let (data, ends, keys) = make(records);
    let gigabytes = size(data.len()) / 1e9;
    let dir = std::env::temp_dir().join(format!("hydrant-whole-way-{}", std::process::id()));
    let before = cpu();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(deliver(&dir, &data, &ends, &keys));
    drop(runtime);
    let spent = cpu().saturating_sub(before).as_secs_f64() / gigabytes;
    std::fs::remove_dir_all(&dir)?;
    done?;

    let before = cpu();
    let mut reference_bytes = 0;
    for chunk in data.chunks(REFERENCE_BYTES) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(chunk)?;
        reference_bytes += encoder.finish()?.len();
    }
    let reference = cpu().saturating_sub(before).as_secs_f64() / gigabytes;
    writeln!(
        std::io::stdout(),
        "put-log-gzip6-directory: {spent:.2} CPU s/GB, {:.2} of the budget of {BUDGET}; reference (flate2 level 6, {:.2} in/out): {reference:.2}, ratio {:.2}; {records} records of {} bytes",
        spent / BUDGET,
        size(data.len()) / size(reference_bytes),
        spent / reference,
        data.len() / records,
    )?;
    Ok(())
}

fn make(records: usize) -> (Vec<u8>, Vec<usize>, Vec<String>) {
    let mut events = Events::new("measured", 7, 1_767_225_600_000);
    let (mut data, mut ends, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..records {
        keys.push(events.write(&mut data));
        ends.push(data.len());
    }
    (data, ends, keys)
}

async fn deliver(dir: &Path, data: &[u8], ends: &[usize], keys: &[String]) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let file = dir.join("hydrant.yaml");
    std::fs::write(
        &file,
        "data_dir: data\nmemory: 512MiB\nstreams: { s: { shards: 2, retention: 24h } }\n\
         delivery_streams:\n  d:\n    source: { kinesis: { stream: s, start: trim_horizon } }\n    \
         destination:\n      directory:\n        path: objects\n        compression: gzip\n        \
         buffering_hints: { size: 5MiB, interval: 60s }\n",
    )?;
    let config = hydrant::config::load(&file).map_err(|faults| {
        anyhow::anyhow!(
            "{}",
            faults.iter().map(ToString::to_string).collect::<String>()
        )
    })?;
    let service = Service::open(&config).await?;
    let (stop, stopping) = watch::channel(false);
    let stream = service.streams().get("s").context("the stream is there")?;
    let produce = async {
        put(&stream, data, ends, keys).await?;
        let status = service.statuses().remove(0).1;
        loop {
            let now = status.snapshot();
            if now.totals.read + now.in_flight >= ends.len() as u64 {
                break;
            }
            Clock::sleep(&RealClock::default(), Duration::from_millis(20)).await;
        }
        stop.send_replace(true);
        anyhow::Ok(())
    };
    let ((), produced) = tokio::join!(service.deliver(stopping), produce);
    produced?;
    let delivered = service.statuses().remove(0).1.snapshot().totals.delivered;
    if delivered != ends.len() as u64 {
        bail!("{delivered} of {} records were delivered", ends.len());
    }
    Ok(())
}

async fn put(stream: &Stream, data: &[u8], ends: &[usize], keys: &[String]) -> anyhow::Result<()> {
    let mut start = 0;
    for (ends, keys) in ends.chunks(4 * 500).zip(keys.chunks(4 * 500)) {
        // Four calls at once share a sync.
        let mut calls = Vec::new();
        for (ends, keys) in ends.chunks(500).zip(keys.chunks(500)) {
            let mut entries = Vec::with_capacity(ends.len());
            for (end, key) in ends.iter().zip(keys) {
                let data = &data[start..*end];
                entries.push(PutEntry {
                    data,
                    partition_key: key,
                    explicit_hash_key: None,
                });
                start = *end;
            }
            calls.push(async move { stream.put(&entries).await });
        }
        for placed in futures_util::future::join_all(calls).await {
            placed?;
        }
    }
    Ok(())
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
fn size(bytes: usize) -> f64 {
    bytes as f64
}
