//! A Kinesis stream that this process serves, filled before the child reads it. What it costs is not
//! the child's.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::join_all;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::STREAM;
use crate::bench::load::Load;
use crate::config;
use crate::service::{Service, bind_api};

/// Shards of the stream: a child that keeps to the limits of a shard reads several at once.
const SHARDS: usize = 4;
/// Calls at a time while it is filled.
const CALLS: usize = 8;

pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Makes the stream with all records so many times in it, and serves it.
    pub(super) fn start(load: &Load, times: u64, dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("hydrant.yaml");
        std::fs::write(
            &file,
            format!(
                "api: {{ listen: \"127.0.0.1:0\" }}\ndata_dir: data\nmemory: 512MiB\n\
                 streams: {{ {STREAM}: {{ shards: {SHARDS}, retention: 24h }} }}\n"
            ),
        )?;
        let config = config::load(&file).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(faults.join("; "))
        })?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (stop, stopping) = watch::channel(false);
        let (address, serving) = runtime.block_on(async {
            let service = Arc::new(Service::open(&config).await?);
            fill(&service, load, times).await?;
            let (api, address) = bind_api(&config).await?;
            let serving = tokio::spawn(async move { service.serve_api(api, stopping).await });
            anyhow::Ok((address, serving))
        })?;
        Ok(Self {
            address,
            runtime,
            stop,
            serving: Some(serving),
        })
    }
}

async fn fill(service: &Service, load: &Load, times: u64) -> anyhow::Result<()> {
    let stream = service.streams().get(STREAM);
    let stream = stream.context("the stream is there")?;
    let calls: Vec<_> = load.calls().collect();
    for _ in 0..times {
        for some in calls.chunks(CALLS) {
            for placed in join_all(some.iter().map(|call| stream.put(call))).await {
                placed?;
            }
        }
    }
    Ok(())
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            // It panicked, or has ended: either way nothing is served any more.
            drop(self.runtime.block_on(serving));
        }
    }
}
