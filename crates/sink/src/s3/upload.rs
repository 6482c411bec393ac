//! One object on its way to S3: a single put where it is small, else parts of 8 MiB that go while
//! the range is open. Nothing is visible before the completion.

use std::collections::VecDeque;
use std::sync::Arc;

use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use hydrant_core::BoxFuture;
use hydrant_core::stage::{Completed, ObjectMeta, ObjectUpload, SinkError};
use tracing::{debug, warn};

use super::checksum::Running;
use super::failure::Failure;
use super::janitor::OpenUpload;
use super::requests::{Head, RENDERED_BY, THIS_VERSION, header_safe};
use super::{Inner, S3Mode};
use hydrant_core::retry::{Class, Fault};

/// Size of a part, and up to which an object is put at once (`DESIGN.md`, section 2). S3 wants at
/// least 5 MiB, and some servers parts of one size.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Parts that an upload may have (S3's limit), which is 80 GB of ours.
const PARTS_MAX: usize = 10_000;
/// Dropped uploads aborted at the start of another.
const ORPHANS_AT_ONCE: usize = 4;

pub(super) struct S3Upload {
    sink: Arc<Inner>,
    meta: ObjectMeta,
    pending: VecDeque<Bytes>,
    pending_bytes: usize,
    size: u64,
    checksum: Running,
    multipart: Option<Multipart>,
}

struct Multipart {
    sink: Arc<Inner>,
    key: String,
    id: String,
    parts: Vec<CompletedPart>,
    _open: OpenUpload,
    /// Completed or aborted: there is nothing left to clean up.
    done: bool,
}

impl Drop for Multipart {
    fn drop(&mut self) {
        if !self.done {
            let orphan = (std::mem::take(&mut self.key), std::mem::take(&mut self.id));
            self.sink.orphans().push(orphan);
        }
    }
}

/// What is under the name.
#[derive(Clone, Copy)]
enum Found {
    Same,
    OtherVersion,
    Different,
    Absent,
}

impl S3Upload {
    pub(super) fn new(sink: Arc<Inner>, meta: ObjectMeta) -> Self {
        let checksum = sink.settings.checksum.start();
        let (pending, pending_bytes) = (VecDeque::new(), 0);
        Self {
            sink,
            meta,
            pending,
            pending_bytes,
            size: 0,
            checksum,
            multipart: None,
        }
    }

    /// The first `bytes` of what is pending, made one chunk at its front: it stays there until it
    /// was sent, so that a cancelled write loses nothing.
    fn front(&mut self, bytes: usize) -> Bytes {
        if self
            .pending
            .front()
            .is_some_and(|first| first.len() > bytes)
            && let Some(mut first) = self.pending.pop_front()
        {
            let part = first.split_to(bytes);
            self.pending.push_front(first);
            self.pending.push_front(part);
        }
        if self.pending.front().is_none_or(|first| first.len() < bytes) {
            let mut joined = BytesMut::with_capacity(bytes);
            while joined.len() < bytes {
                let Some(mut next) = self.pending.pop_front() else {
                    break;
                };
                let wanted = bytes - joined.len();
                if next.len() > wanted {
                    joined.extend_from_slice(&next.split_to(wanted));
                    self.pending.push_front(next);
                } else {
                    joined.extend_from_slice(&next);
                }
            }
            self.pending.push_front(joined.freeze());
        }
        self.pending.front().cloned().unwrap_or_default()
    }

    /// Sends the next part; starts the multipart upload with the first.
    async fn send_part(&mut self, bytes: usize) -> Result<(), SinkError> {
        if self.multipart.is_none() {
            self.multipart = Some(self.start_multipart().await?);
        }
        let body = self.front(bytes);
        let (sink, key) = (self.sink.clone(), self.meta.key.clone());
        let multipart = self.multipart.as_mut().expect("started just now");
        if multipart.parts.len() >= PARTS_MAX {
            let size = self.size;
            return Err(SinkError::Broken(format!(
                "the object is {size} bytes, over S3's limit of {PARTS_MAX} parts of {PART_BYTES}: \
                 lower the buffering size"
            )));
        }
        let number = i32::try_from(multipart.parts.len() + 1).unwrap_or(i32::MAX);
        let id = multipart.id.clone();
        let part = sink.until_done("sending a part", &key, is_lost, || {
            Box::pin(sink.upload_part(&key, &id, number, body.clone()))
        });
        let part = part
            .await
            .map_err(|failure| unavailable(failure.into_fault().text))?;
        multipart.parts.push(part);
        self.pending.pop_front();
        self.pending_bytes -= bytes;
        Ok(())
    }

    async fn start_multipart(&self) -> Result<Multipart, SinkError> {
        let (sink, meta) = (&self.sink, &self.meta);
        let orphans: Vec<_> = {
            let mut orphans = sink.orphans();
            let count = orphans.len().min(ORPHANS_AT_ONCE);
            orphans.drain(..count).collect()
        };
        for (key, id) in orphans {
            abort(sink, &key, &id).await;
        }
        let create = || -> BoxFuture<'_, _> { Box::pin(sink.create_multipart(meta)) };
        let id = sink
            .until_done("starting a multipart upload", &meta.key, |_| false, create)
            .await;
        let id = id.map_err(|failure| unavailable(failure.into_fault().text))?;
        let (sink, key) = (sink.clone(), meta.key.clone());
        let open = sink.uploads.begin(&id);
        Ok(Multipart {
            sink,
            key,
            id,
            _open: open,
            parts: Vec::new(),
            done: false,
        })
    }

    async fn run(mut self) -> Result<Completed, SinkError> {
        if self.multipart.is_some() && self.pending_bytes > 0 {
            self.send_part(self.pending_bytes).await?;
        }
        let body = if self.multipart.is_none() {
            self.front(self.pending_bytes)
        } else {
            Bytes::new()
        };
        let result = self.make_visible(body).await;
        if result.is_ok() {
            self.sink.retry.status().succeeded();
        }
        if let Some(mut multipart) = self.multipart.take() {
            if !matches!(result, Ok(Completed::Written)) {
                abort(&self.sink, &multipart.key, &multipart.id).await;
            }
            multipart.done = true;
        }
        result
    }

    async fn make_visible(&self, body: Bytes) -> Result<Completed, SinkError> {
        let (sink, key) = (&self.sink, &self.meta.key);
        let checksum = self.checksum.to_base64();
        let mut attempts = sink.retry.attempts();
        loop {
            // The probe proved the condition of a put only: some servers ignore that of a completion.
            let trusts_condition = sink.mode() == S3Mode::Conditional && self.multipart.is_none();
            if !trusts_condition && let Some(found) = self.settle(self.find().await?) {
                return found;
            }
            let request: BoxFuture<'_, _> = match &self.multipart {
                None => Box::pin(sink.put(&self.meta, body.clone(), &checksum)),
                Some(open) => {
                    Box::pin(sink.complete_multipart(key, &open.id, &open.parts, &checksum))
                }
            };
            let fault = match request.await {
                Ok(()) => return Ok(Completed::Written),
                Err(Failure::Fault(fault)) => fault,
                Err(Failure::Exists) => {
                    if let Some(found) = self.settle(self.find().await?) {
                        return found;
                    }
                    gone()
                }
                Err(Failure::UploadLost(text)) if self.multipart.is_some() => {
                    // It may have been this upload's own completion whose answer was lost. If not,
                    // its parts are gone: the range has to be rendered again.
                    let found = self.settle(self.find().await?);
                    return found.unwrap_or_else(|| Err(unavailable(text)));
                }
                // Once proven, conditional writes stay: a proxy's 501 passes.
                Err(Failure::Unsupported(text)) if sink.mode() == S3Mode::Unprobed => {
                    warn!(place = %sink.place(key), error = %text, "the server has no conditional writes");
                    sink.set_mode(S3Mode::Overwrite);
                    continue;
                }
                Err(other) => other.into_fault(),
            };
            attempts
                .pause("making an object visible", &sink.place(key), &fault)
                .await;
        }
    }

    /// What a found object means; `None` where there is none.
    fn settle(&self, found: Found) -> Option<Result<Completed, SinkError>> {
        let place = self.sink.place(&self.meta.key);
        match found {
            Found::Same => Some(Ok(Completed::AlreadyThere)),
            Found::OtherVersion => {
                warn!(%place, "another version of hydrant rendered this range: its object is kept");
                Some(Ok(Completed::AlreadyThere))
            }
            Found::Different => Some(Err(SinkError::Mismatch { place })),
            Found::Absent => None,
        }
    }

    /// Compares what is under the name with this object.
    async fn find(&self) -> Result<Found, SinkError> {
        let (sink, key) = (&self.sink, &self.meta.key);
        let request = || -> BoxFuture<'_, _> { Box::pin(sink.head(key)) };
        let head = match sink
            .until_done("asking for an object", key, is_absent, request)
            .await
        {
            Ok(head) => head,
            Err(Failure::NotThere(_)) => return Ok(Found::Absent),
            Err(failure) => return Err(unavailable(failure.into_fault().text)),
        };
        let same_range = self.meta.metadata.iter().all(|(name, value)| {
            head.metadata
                .get(*name)
                .is_some_and(|found| *found == header_safe(value))
        });
        if !same_range {
            return Ok(Found::Different);
        }
        let by_this = head
            .metadata
            .get(RENDERED_BY)
            .is_some_and(|found| found == THIS_VERSION);
        Ok(match (self.same_content(head).await?, by_this) {
            (true, _) => Found::Same,
            (false, true) => Found::Different,
            (false, false) => Found::OtherVersion,
        })
    }

    async fn same_content(&self, head: Head) -> Result<bool, SinkError> {
        if head.size != self.size {
            return Ok(false);
        }
        let checksum = if let Some(checksum) = head.checksum {
            checksum
        } else {
            let (sink, key) = (&self.sink, &self.meta.key);
            let request = || -> BoxFuture<'_, _> { Box::pin(sink.read_checksum(key, head.size)) };
            match sink
                .until_done("reading an object to compare it", key, is_absent, request)
                .await
            {
                Ok(checksum) => checksum,
                Err(failure) => return Err(unavailable(failure.into_fault().text)),
            }
        };
        Ok(checksum == self.checksum.to_base64())
    }
}

impl ObjectUpload for S3Upload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        self.checksum.update(&chunk);
        self.size += chunk.len() as u64;
        self.pending_bytes += chunk.len();
        self.pending.push_back(chunk);
        Box::pin(async move {
            // A part is sent once more than that has come, so that the last one is never empty.
            while self.pending_bytes > PART_BYTES {
                self.send_part(PART_BYTES).await?;
            }
            Ok(())
        })
    }

    fn held_bytes(&self) -> usize {
        self.pending_bytes
    }

    fn complete(self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        Box::pin(self.run())
    }

    fn abort(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(mut multipart) = self.multipart.take() {
                abort(&self.sink, &multipart.key, &multipart.id).await;
                multipart.done = true;
            }
        })
    }
}

/// Tried once. A range does not wait for it while the destination is sick: another upload does it
/// then.
async fn abort(sink: &Inner, key: &str, upload_id: &str) {
    if !sink.retry.is_well() {
        let orphan = (key.to_owned(), upload_id.to_owned());
        sink.orphans().push(orphan);
        return;
    }
    if let Err(failure) = sink.abort_multipart(key, upload_id).await {
        debug!(place = %sink.place(key), error = %failure.into_fault().text, "an upload was not aborted");
    }
}

fn is_lost(failure: &Failure) -> bool {
    matches!(failure, Failure::UploadLost(_))
}

fn is_absent(failure: &Failure) -> bool {
    matches!(failure, Failure::NotThere(_))
}

fn gone() -> Fault {
    let text = "the name is taken, and yet there is no object".to_owned();
    Fault {
        class: Class::Transient,
        after: None,
        text,
    }
}

fn unavailable(text: String) -> SinkError {
    SinkError::Unavailable(text.into())
}
