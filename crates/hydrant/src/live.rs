//! `hydrant check --live`: tries what the service will do at `data_dir`, at every source and at every
//! destination, and removes what it wrote. Modules are compiled by every check.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::join_all;
use hydrant_aws::{Refused, RefusedKind};
use hydrant_core::offload::Offload;
use hydrant_core::rng::Rng as _;
use hydrant_log::disk::in_use;
use hydrant_sink::s3::OpenUploads;
use hydrant_sink::{Directory, S3};
use hydrant_source::KinesisClient;

use crate::config::types::{
    Config, DeliveryStreamConfig, DestinationConfig, DirectoryConfig, RemoteConfig, S3Config,
    SourceConfig, StreamPlace,
};
use crate::config::{Fault, Places};
use crate::runtime::{Pool, RealClock, RealRng};
use crate::stages;

/// What was found.
#[derive(Default)]
pub(crate) struct Found {
    pub(crate) faults: Vec<Fault>,
    /// What is no fault and worth a look.
    pub(crate) notes: Vec<Fault>,
}

struct Live<'a> {
    places: &'a Places,
    io: Arc<dyn Offload>,
    clock: Arc<RealClock>,
    rng: Arc<RealRng>,
}

/// Tries everything of a configuration.
///
/// # Errors
/// Where this process cannot try anything.
pub(crate) fn check(config: &Config, places: &Places) -> anyhow::Result<Found> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime for the check")?;
    let io = Pool::start("hydrant-io", 2).context("no threads for I/O")?;
    let live = Live {
        places,
        io,
        clock: Arc::new(RealClock::default()),
        rng: Arc::new(RealRng::default()),
    };
    let mut found = live.data_dir(&config.data_dir);
    let streams = config.delivery_streams.values();
    let tried = streams.map(|one| async {
        let (source, destination) = (live.source(one), live.destination(one));
        [source.await, destination.await]
    });
    for one in runtime.block_on(join_all(tried)).into_iter().flatten() {
        found.faults.extend(one.faults);
        found.notes.extend(one.notes);
    }
    Ok(found)
}

impl Live<'_> {
    fn data_dir(&self, dir: &Path) -> Found {
        let mut found = Found::default();
        if let Err(error) = writable(dir, self.rng.next()) {
            let message = format!("{} cannot be written to: {error}", dir.display());
            let remedy = "give the user that runs hydrant the folder, or name another";
            found.fault(self.places, "data_dir", message, remedy);
        }
        if in_use(&dir.join("state")) {
            let message = format!("{} is in use by a running hydrant", dir.display());
            let note = self.places.fault("data_dir", message, String::new());
            found.notes.push(note);
        }
        found
    }

    /// An embedded stream is in `data_dir`; a remote one is described and read.
    async fn source(&self, stream: &DeliveryStreamConfig) -> Found {
        let SourceConfig::Kinesis(kinesis) = &stream.source;
        let mut found = Found::default();
        let StreamPlace::Remote(remote) = &kinesis.place else {
            return found;
        };
        let path = format!("delivery_streams.{}.source.kinesis", stream.name);
        let settings = stages::kinesis_settings(&kinesis.stream, remote);
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        match Box::pin(KinesisClient::new(settings, clock, rng)).await {
            Err(faults) => found.fault(self.places, &path, faults.join("; "), ""),
            Ok(client) => {
                if let Err(refused) = client.check().await {
                    let (setting, remedy) = at_source(&refused, &kinesis.stream, remote);
                    let message = format!("{} failed: {}", refused.step, refused.error.trim_end());
                    let path = format!("{path}{setting}");
                    found.fault(self.places, &path, message, &remedy);
                }
            }
        }
        found
    }

    async fn destination(&self, stream: &DeliveryStreamConfig) -> Found {
        let path = format!("delivery_streams.{}.destination", stream.name);
        let done = match &stream.destination {
            DestinationConfig::S3(s3) => Box::pin(self.s3(stream, s3, &path)).await,
            DestinationConfig::Directory(one) => self.directory(stream, one, &path).await,
            DestinationConfig::Stdout(_) => Ok(Found::default()),
        };
        done.unwrap_or_else(|error| {
            let mut found = Found::default();
            found.fault(self.places, &path, format!("{error:#}"), "");
            found
        })
    }

    async fn s3(
        &self,
        stream: &DeliveryStreamConfig,
        config: &S3Config,
        path: &str,
    ) -> anyhow::Result<Found> {
        let rules = stages::rules(&stream.name, &config.objects)?;
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        let sink = S3::new(
            stages::s3_settings(config),
            rules,
            clock,
            rng,
            OpenUploads::default(),
        )
        .await;
        let sink = sink.map_err(|faults| anyhow::anyhow!(faults.join("; ")))?;
        let checked = sink.check(&self.name()).await;
        let mut found = Found::default();
        for refused in checked.refused {
            let (setting, remedy) = at_bucket(&refused, config);
            let message = format!("{} failed: {}", refused.step, refused.error.trim_end());
            found.fault(
                self.places,
                &format!("{path}.s3{setting}"),
                message,
                &remedy,
            );
        }
        let note = |text| {
            self.places
                .fault(&format!("{path}.s3.bucket"), text, String::new())
        };
        found.notes.extend(checked.notes.into_iter().map(note));
        Ok(found)
    }

    async fn directory(
        &self,
        stream: &DeliveryStreamConfig,
        config: &DirectoryConfig,
        path: &str,
    ) -> anyhow::Result<Found> {
        let rules = stages::rules(&stream.name, &config.objects)?;
        let (clock, rng) = (self.clock.clone(), self.rng.clone());
        let sink = Directory::new(&config.path, rules, self.io.clone(), clock, rng);
        let mut found = Found::default();
        if let Err(error) = sink.check(&self.name()).await {
            let message = format!("{} cannot be used: {error}", config.path.display());
            let remedy = "give the user that runs hydrant the folder, or name another";
            found.fault(
                self.places,
                &format!("{path}.directory.path"),
                message,
                remedy,
            );
        }
        Ok(found)
    }

    /// A name that no other check has.
    fn name(&self) -> String {
        format!("{:016x}", self.rng.next())
    }
}

impl Found {
    fn fault(&mut self, places: &Places, path: &str, message: String, remedy: &str) {
        self.faults
            .push(places.fault(path, message, remedy.to_owned()));
    }
}

/// The setting that a refused step at a source is about, and what helps.
fn at_source(refused: &Refused, stream: &str, remote: &RemoteConfig) -> (&'static str, String) {
    let (keys, endpoint) = (remote.credentials.is_some(), remote.endpoint.is_some());
    match refused.kind {
        RefusedKind::Missing => (
            ".stream",
            format!("make the stream `{stream}`, or correct its name or region"),
        ),
        RefusedKind::Action(action) => (
            ".stream",
            format!("allow {action} on the stream `{stream}`"),
        ),
        kind => anywhere(kind, keys, if endpoint { ".endpoint" } else { "" }),
    }
}

/// The setting that a refused step at a bucket is about, and what helps.
fn at_bucket(refused: &Refused, config: &S3Config) -> (&'static str, String) {
    let (keys, endpoint) = (config.credentials.is_some(), config.endpoint.is_some());
    let bucket = &config.bucket;
    match refused.kind {
        RefusedKind::Missing => (
            ".bucket",
            format!("make the bucket `{bucket}`, or correct its name"),
        ),
        RefusedKind::Action("s3:ListBucket") => (
            ".bucket",
            format!("allow s3:ListBucket on arn:aws:s3:::{bucket}"),
        ),
        RefusedKind::Action(action) => (
            ".bucket",
            format!("allow {action} on arn:aws:s3:::{bucket}/*"),
        ),
        kind => anywhere(kind, keys, if endpoint { ".endpoint" } else { ".bucket" }),
    }
}

/// What helps where keys are refused (set ones, if `keys`), or the server is not well.
fn anywhere(kind: RefusedKind, keys: bool, server: &'static str) -> (&'static str, String) {
    if kind == RefusedKind::Credentials {
        let remedy = "correct the access key and the secret key, or what the environment gives";
        return (if keys { ".credentials" } else { "" }, remedy.to_owned());
    }
    let remedy = "see that the server runs, and that it can be reached from here";
    (server, remedy.to_owned())
}

/// Writes a file into a folder, syncs and removes it. A folder that is not there is made, and
/// removed again: the service makes its own.
fn writable(dir: &Path, serial: u64) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|one| !one.exists()).collect();
    fs::create_dir_all(dir)?;
    let probe = dir.join(format!(".hydrant-check-{serial:016x}"));
    let written = fs::File::create_new(&probe).and_then(|file| file.sync_all());
    let removed = fs::remove_file(&probe);
    for made in missing {
        fs::remove_dir(made)?;
    }
    written.and(removed)
}
