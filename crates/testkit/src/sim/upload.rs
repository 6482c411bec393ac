//! What puts objects into a simulated bucket: small ones at once, larger ones in parts while the range
//! is open, with the condition that the name is free. It follows the S3 sink step by step.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hydrant_core::planted;
use hydrant_core::retry::{Attempts, Class, Fault, Outcome, Retry};
use hydrant_core::stage::{Completed, ObjectId, ObjectMeta, ObjectSink, ObjectUpload, SinkError};
use hydrant_core::{BoxFuture, Digest};

use super::bucket::{Answer, Bucket, Object, Request, Wrong};

/// What a server asks for with `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(3);

/// A sink into a simulated bucket. Clones share the retry layer.
#[derive(Clone)]
pub struct BucketSink {
    bucket: Bucket,
    retry: Retry,
    part_bytes: usize,
    /// How many times it tries, if not for ever.
    tries: Option<u32>,
}

impl BucketSink {
    /// A sink that sends parts of this size, and gives an object up after so many tries.
    pub fn new(bucket: &Bucket, part_bytes: usize, tries: Option<u32>) -> Self {
        let world = Arc::new(bucket.world.clone());
        Self {
            bucket: bucket.clone(),
            retry: Retry::of_destination(world.clone(), world.rng.clone()),
            part_bytes,
            tries,
        }
    }

    /// Sends a request once the retry layer lets it go, and tells it what came of that.
    async fn ask(&self, request: Request) -> Answer {
        let call = self.retry.call().await;
        let answer = self.bucket.ask(request).await;
        call.ended(match answer {
            Answer::Nothing | Answer::Refused(Wrong::Internal) => Outcome::Sick,
            Answer::Refused(Wrong::SlowDown) => Outcome::Throttled,
            _ => Outcome::Answered,
        });
        answer
    }

    /// Asks until there is an answer that means something.
    async fn insist(&self, what: &'static str, request: &Request) -> Result<Answer, SinkError> {
        let mut tries = self.tries();
        loop {
            match self.ask(request.clone()).await {
                Answer::Conflict | Answer::Nothing => tries.pause(what, None).await?,
                Answer::Refused(wrong) => tries.pause(what, Some(wrong)).await?,
                answer => return Ok(answer),
            }
        }
    }

    fn tries(&self) -> Tries {
        Tries {
            attempts: self.retry.attempts(),
            left: self.tries,
        }
    }
}

struct Tries {
    attempts: Attempts,
    left: Option<u32>,
}

impl Tries {
    /// Waits before the next try, if there is one.
    async fn pause(&mut self, what: &'static str, wrong: Option<Wrong>) -> Result<(), SinkError> {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return Err(SinkError::Unavailable(format!("{what} failed").into()));
            }
        }
        let class = match wrong {
            Some(Wrong::Forbidden) => Class::Auth,
            Some(Wrong::SlowDown) => Class::Throttled,
            _ => Class::Transient,
        };
        let fault = Fault {
            class,
            after: (class == Class::Throttled).then_some(RETRY_AFTER),
            text: "simulated".to_owned(),
        };
        self.attempts.pause(what, "bucket", &fault).await;
        Ok(())
    }
}

impl ObjectSink for BucketSink {
    fn digest(&self) -> Digest {
        Digest::of(b"bucket")
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        let kind = id.error_kind.unwrap_or("data");
        let (uuid, extension) = (id.digest.to_uuid(), id.extension);
        format!("{kind}/{}-{uuid}{extension}", id.arrival_ms)
    }

    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        Box::new(Upload {
            sink: self.clone(),
            meta,
            bytes: BytesMut::new(),
            sent: 0,
            parts: 0,
            multipart: None,
        })
    }
}

struct Upload {
    sink: BucketSink,
    meta: ObjectMeta,
    /// All of it, to be compared with what is found; `sent` of it are parts.
    bytes: BytesMut,
    sent: usize,
    parts: u32,
    multipart: Option<u64>,
}

impl Upload {
    async fn send_part(&mut self, bytes: usize) -> Result<(), SinkError> {
        let upload = if let Some(upload) = self.multipart {
            upload
        } else {
            let begin = Request::Begin(self.meta.clone());
            let Answer::Begun(upload) = self.sink.insist("begin", &begin).await? else {
                return Err(SinkError::Broken("no upload began".into()));
            };
            self.multipart = Some(upload);
            upload
        };
        let body = Bytes::copy_from_slice(&self.bytes[self.sent..self.sent + bytes]);
        let part = Request::Part(upload, self.parts + 1, body);
        match self.sink.insist("part", &part).await? {
            Answer::Done => {}
            _ => return Err(SinkError::Unavailable("the upload is lost".into())),
        }
        self.parts += 1;
        self.sent += bytes;
        Ok(())
    }

    async fn make_visible(&self, object: Object) -> Result<Completed, SinkError> {
        let mut tries = self.sink.tries();
        loop {
            let request = match self.multipart {
                None => Request::Put {
                    object: object.clone(),
                    condition: true,
                },
                Some(upload) => Request::Complete(upload),
            };
            let wrong = match self.sink.ask(request).await {
                Answer::Done => return Ok(Completed::Written),
                Answer::Exists => match self.compare(&object).await? {
                    Some(found) => return found,
                    None => None,
                },
                Answer::Conflict if planted!("409-means-exists") => {
                    return Ok(Completed::AlreadyThere);
                }
                Answer::NoUpload => {
                    // It may have been this upload's own completion whose answer was lost.
                    let lost = || Err(SinkError::Unavailable("the upload is lost".into()));
                    return self.compare(&object).await?.unwrap_or_else(lost);
                }
                Answer::Nothing if planted!("no-answer-means-done") => {
                    return Ok(Completed::Written);
                }
                Answer::Refused(wrong) => Some(wrong),
                _ => None,
            };
            tries.pause("making an object visible", wrong).await?;
        }
    }

    /// What is under the name; `None` where nothing is.
    async fn compare(
        &self,
        object: &Object,
    ) -> Result<Option<Result<Completed, SinkError>>, SinkError> {
        let head = Request::Head(object.meta.key.clone());
        let Answer::Found(found) = self.sink.insist("head", &head).await? else {
            return Ok(None);
        };
        Ok(found.map(|found| {
            if found == *object {
                Ok(Completed::AlreadyThere)
            } else {
                self.sink.bucket.note_mismatch(&object.meta.key);
                Err(SinkError::Mismatch {
                    place: object.meta.key.clone(),
                })
            }
        }))
    }
}

impl ObjectUpload for Upload {
    fn write(&mut self, chunk: Bytes) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            self.bytes.extend_from_slice(&chunk);
            while self.bytes.len() - self.sent >= self.sink.part_bytes {
                self.send_part(self.sink.part_bytes).await?;
            }
            Ok(())
        })
    }

    fn held_bytes(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn complete(mut self: Box<Self>) -> BoxFuture<'static, Result<Completed, SinkError>> {
        Box::pin(async move {
            let rest = self.bytes.len() - self.sent;
            if self.multipart.is_some() && rest > 0 {
                self.send_part(rest).await?;
            }
            let object = Object {
                meta: self.meta.clone(),
                bytes: std::mem::take(&mut self.bytes).freeze(),
            };
            let result = self.make_visible(object).await;
            if let Some(upload) = self.multipart.take()
                && !matches!(result, Ok(Completed::Written))
                && self.sink.retry.is_well()
            {
                // As well as it can.
                drop(self.sink.ask(Request::Abort(upload)).await);
            }
            result
        })
    }

    fn abort(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}
