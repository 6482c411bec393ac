//! `hydrant demo`: the whole product in one command, without a network. Events go into an embedded
//! stream, through a WebAssembly transform, and come out as Parquet and as GZIP.

pub(crate) mod events;

mod producer;

mod progress;

pub(crate) mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hydrant_core::clock::Clock as _;
use hydrant_core::rng::Rng as _;
use hydrant_log::stream::StreamOptions;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::say;
use crate::config;
use crate::config::types::Config;
use crate::runtime::{RealClock, RealRng};
use crate::service::Service;

pub use events::{Events, Expected};

/// The transform, as it is built from `transforms/web-events`.
const MODULE: &[u8] = include_bytes!("../../../../transforms/web-events/web_events.wasm");
/// The configuration that is written and then run.
const CONFIG: &str = include_str!("demo.yaml");
/// The stream that the configuration names.
const STREAM: &str = "web-events";

/// Arguments of `hydrant demo`.
#[derive(clap::Args, Debug)]
pub struct DemoArgs {
    /// Where everything goes: `data`, `objects`, `hydrant.yaml`.
    #[arg(long, default_value = "hydrant-demo")]
    dir: PathBuf,
    /// How many records to make.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    records: u64,
    /// Goes on as a service afterwards: Kinesis API and operations port, until Ctrl-C.
    #[arg(long)]
    serve: bool,
}

/// Runs the demo.
///
/// # Errors
/// Where the directory cannot be used, or not everything was delivered.
pub(crate) fn main(args: &DemoArgs) -> anyhow::Result<()> {
    let config = prepare(&args.dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(demo(args, &config))?;
    if args.serve {
        let (api, operations) = (config.api.listen, config.operations.listen);
        say(&format!(
            "serving: Kinesis API on http://{api}, operations on http://{operations}/metrics"
        ));
        runtime.block_on(async {
            crate::run::run(&config, crate::run::asked_to_stop()?, None).await
        })?;
    }
    Ok(())
}

/// Writes the configuration and the module, and reads the configuration as a user's is read.
fn prepare(dir: &Path) -> anyhow::Result<Config> {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))
    };
    fs::create_dir_all(dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    write("web_events.wasm", MODULE)?;
    write("hydrant.yaml", CONFIG.as_bytes())?;
    config::load(&dir.join("hydrant.yaml")).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(
            "the demo's own configuration is wrong: {}",
            faults.join("; ")
        )
    })
}

async fn demo(args: &DemoArgs, config: &Config) -> anyhow::Result<()> {
    let (clock, rng) = (RealClock::default(), RealRng::default());
    let service = Arc::new(Service::open(config).await?);
    fresh_stream(&service, config).await?;
    // Ids differ between runs, so that the objects of several can stand side by side.
    let run = format!("{:08x}", rng.next() >> 32);
    let mut events = Events::new(&run, rng.next(), clock.wall_ms());
    let meter = report::Meter::start(&clock);

    let (stop, stopping) = watch::channel(false);
    let mut delivering = JoinSet::new();
    delivering.spawn({
        let service = service.clone();
        async move { service.deliver(stopping).await }
    });
    let mut progress = progress::Progress::new(&service, args.records);
    let Some(stream) = service.streams().get(STREAM) else {
        bail!("the demo's stream is gone")
    };
    let produced = producer::put(&stream, &mut events, args.records, &mut progress).await?;
    write_manifest(&args.dir, &run, args.records, events.expected())?;
    progress.until_read(&clock).await?;
    stop.send_replace(true);
    while delivering.join_next().await.is_some() {}
    progress.end();

    let measured = meter.end(&clock, &produced);
    report::print(&args.dir, &service, &produced, &measured)?;
    check(&service, args.records, events.expected())
}

/// Each run has a stream of its own, with an identity that no other has had.
async fn fresh_stream(service: &Service, config: &Config) -> anyhow::Result<()> {
    let Some(stream) = config.streams.get(STREAM) else {
        bail!("the demo has no stream")
    };
    let options = StreamOptions {
        shards: stream.shards,
        retention: stream.retention,
        ..StreamOptions::default()
    };
    service.streams().delete(STREAM).await?;
    service.streams().create(STREAM, options).await?;
    Ok(())
}

/// What readers of the objects should find, written before they are looked at.
fn write_manifest(dir: &Path, run: &str, records: u64, expected: Expected) -> anyhow::Result<()> {
    let manifest = serde_json::json!({
        "run": run,
        "records": records,
        "expected": {
            "outputs": expected.outputs,
            "added": expected.added,
            "dropped": expected.dropped,
            "failed": expected.failed,
        },
    });
    fs::write(dir.join("input.json"), format!("{manifest:#}\n"))?;
    Ok(())
}

/// The demo fails where what was delivered is not what was made.
fn check(service: &Service, records: u64, expected: Expected) -> anyhow::Result<()> {
    for (name, status) in service.statuses() {
        let totals = status.snapshot().totals;
        let found = Expected {
            outputs: totals.delivered,
            added: totals.added,
            dropped: totals.dropped,
            failed: totals.failed,
        };
        if totals.read != records || found != expected {
            bail!(
                "{name} delivered {found:?} of {} records, expected {expected:?} of {records}",
                totals.read
            );
        }
    }
    Ok(())
}
