//! What the sinks are handed in these tests: real time, threads for blocking calls, seeded jitter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Job, Offload};
use hydrant_core::rng::Rng;
use hydrant_core::stage::{Completed, ObjectMeta, ObjectSink, SinkError};
use hydrant_core::{BoxFuture, Digest};
use hydrant_sink::KeyRules;

/// The real clock.
pub(crate) struct RealClock(Instant);

impl Clock for RealClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        u64::try_from(since.as_millis()).unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A thread per job, named so that a test can see where a call ran.
pub(crate) struct IoThreads;

impl Offload for IoThreads {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        std::thread::Builder::new()
            .name("io".to_owned())
            .spawn(job)
            .unwrap();
        Box::pin(async {})
    }

    fn width(&self) -> usize {
        4
    }
}

/// A fixed sequence.
pub(crate) struct Steps(AtomicU64);

impl Rng for Steps {
    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(RealClock(Instant::now()))
}

pub(crate) fn io() -> Arc<dyn Offload> {
    Arc::new(IoThreads)
}

pub(crate) fn rng() -> Arc<dyn Rng> {
    Arc::new(Steps(AtomicU64::new(1)))
}

pub(crate) fn rules(prefix: &str) -> KeyRules {
    KeyRules::new("clicks", 1, Some(prefix), None, None).unwrap()
}

pub(crate) fn meta(key: &str) -> ObjectMeta {
    meta_of(key, "7")
}

pub(crate) fn meta_of(key: &str, first: &str) -> ObjectMeta {
    let version = Digest::of(b"version").to_hex();
    let metadata = [
        ("lane", "shardId-0"),
        ("first", first),
        ("generation", "1"),
        ("version", &version),
    ];
    ObjectMeta {
        key: key.to_owned(),
        content_encoding: Some("gzip".to_owned()),
        metadata: metadata
            .map(|(name, value)| (name, value.to_owned()))
            .to_vec(),
    }
}

/// Puts an object of these chunks.
pub(crate) async fn put(
    sink: &dyn ObjectSink,
    meta: ObjectMeta,
    chunks: &[&[u8]],
) -> Result<Completed, SinkError> {
    let mut upload = sink.object(meta);
    for chunk in chunks {
        upload.write(Bytes::copy_from_slice(chunk)).await?;
    }
    upload.complete().await
}
