//! The stdout sink: objects one after the other into a writer. Takes chunks and keeps them until
//! the object is complete, so that objects never mix; gives no durability.
//!
//! At least once: a pipe has no names, so an object that is redone after a crash comes again, and
//! a reader that ends early loses what it did not read. For trying things out.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hydrant_core::offload::{self, Offload};
use hydrant_core::stage::{Completed, ObjectId, ObjectMeta, ObjectSink, ObjectUpload, SinkError};
use hydrant_core::{BoxFuture, Digest};

use crate::key::KeyRules;

type Writer = Arc<Mutex<dyn Write + Send>>;

/// Objects into a writer.
#[derive(Clone)]
pub struct Stdout {
    rules: KeyRules,
    writer: Writer,
    io: Arc<dyn Offload>,
}

impl Stdout {
    /// A sink into `writer`; `io` is where its blocking calls run. Error objects go there too.
    pub fn new(rules: KeyRules, writer: impl Write + Send + 'static, io: Arc<dyn Offload>) -> Self {
        Self {
            rules,
            writer: Arc::new(Mutex::new(writer)),
            io,
        }
    }
}

impl ObjectSink for Stdout {
    fn digest(&self) -> Digest {
        Digest::of_parts(&[b"stdout", self.rules.digest().as_bytes()])
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        self.rules.key(id)
    }

    fn object(&self, _meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        Box::new(StdoutUpload {
            sink: self.clone(),
            chunks: Vec::new(),
            held_bytes: 0,
        })
    }
}

struct StdoutUpload {
    sink: Stdout,
    chunks: Vec<Bytes>,
    held_bytes: usize,
}

impl ObjectUpload for StdoutUpload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        self.held_bytes += chunk.len();
        self.chunks.push(chunk);
        Box::pin(async { Ok(()) })
    }

    fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        Box::pin(async move {
            let (writer, chunks) = (self.sink.writer.clone(), self.chunks);
            let written = offload::run(self.sink.io.clone(), move || {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                chunks
                    .iter()
                    .try_for_each(|chunk| writer.write_all(chunk))?;
                writer.flush()
            });
            match written.await {
                Ok(Ok(())) => Ok(Completed::Written),
                // The reader went away: no waiting brings it back.
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(
                    SinkError::Broken("the reader of stdout went away".to_owned()),
                ),
                Ok(Err(error)) => Err(SinkError::Unavailable(Box::new(error))),
                Err(lost) => Err(SinkError::Unavailable(Box::new(lost))),
            }
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
