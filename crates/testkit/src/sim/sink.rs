//! A simulated object store: create-if-absent, slow, and not always honest about what it did.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hydrant_core::clock::Clock as _;
use hydrant_core::stage::{Completed, ObjectId, ObjectMeta, ObjectSink, ObjectUpload, SinkError};
use hydrant_core::{BoxFuture, Digest};

use super::world::{World, lock};

/// An object that is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name and metadata.
    pub meta: ObjectMeta,
    /// Its bytes.
    pub bytes: Bytes,
}

/// The store. Clones share their objects.
#[derive(Clone)]
pub struct SimSink {
    world: World,
    objects: Arc<Mutex<BTreeMap<String, Stored>>>,
    /// Percent of completions that fail: a third refused, a third applied and the answer lost, a
    /// third applied later, after the caller has given up.
    pub fails_percent: Arc<AtomicU64>,
    /// While this is true, no completion comes to an end.
    pub stalled: Arc<AtomicBool>,
    /// A planted fault: an object that is found is taken for the same, whatever it holds.
    pub adopt: bool,
}

impl SimSink {
    /// An empty store.
    pub fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            objects: Arc::default(),
            fails_percent: Arc::default(),
            stalled: Arc::default(),
            adopt: false,
        }
    }

    /// Everything that is visible, by key.
    pub fn objects(&self) -> BTreeMap<String, Stored> {
        lock(&self.objects).clone()
    }

    fn create(&self, stored: Stored) -> Result<Completed, SinkError> {
        let mut objects = lock(&self.objects);
        match objects.get(&stored.meta.key) {
            None => {
                objects.insert(stored.meta.key.clone(), stored);
                Ok(Completed::Written)
            }
            Some(found) if *found == stored || self.adopt => Ok(Completed::AlreadyThere),
            Some(found) => Err(SinkError::Mismatch {
                place: found.meta.key.clone(),
            }),
        }
    }
}

impl ObjectSink for SimSink {
    fn digest(&self) -> Digest {
        Digest::of(b"sim sink")
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        let kind = id.error_kind.unwrap_or("data");
        format!(
            "{kind}/{}-{}{}",
            id.arrival_ms,
            id.digest.to_uuid(),
            id.extension
        )
    }

    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        Box::new(SimUpload {
            sink: self.clone(),
            meta,
            bytes: BytesMut::new(),
        })
    }
}

struct SimUpload {
    sink: SimSink,
    meta: ObjectMeta,
    bytes: BytesMut,
}

impl ObjectUpload for SimUpload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.sink.world.random_pause(2).await;
            self.bytes.extend_from_slice(&chunk);
            Ok(())
        })
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        let Self { sink, meta, bytes } = *self;
        let stored = Stored {
            meta,
            bytes: bytes.freeze(),
        };
        Box::pin(async move {
            let world = sink.world.clone();
            world.random_pause(40).await;
            while sink.stalled.load(Ordering::Relaxed) {
                world.sleep(Duration::from_millis(100)).await;
            }
            let refused = || SinkError::Unavailable("simulated fault".into());
            if world.rng.chance(sink.fails_percent.load(Ordering::Relaxed)) {
                match world.rng.between(0, 2) {
                    0 => {}
                    1 => drop(sink.create(stored)?),
                    _ => {
                        let later = world.random_pause(3000);
                        world.start(async move {
                            later.await;
                            // Nobody waits for this answer any more.
                            drop(sink.create(stored));
                        });
                    }
                }
                return Err(refused());
            }
            let done = sink.create(stored)?;
            world.random_pause(40).await;
            Ok(done)
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
