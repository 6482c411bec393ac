//! The S3 sink: objects in a bucket, once each. Takes chunks, sends parts while the range is open,
//! and makes the object visible with a conditional write; what is there already is compared.
//!
//! Failures are tried again without an end, by the one retry layer. Checksums go with every
//! object. Where the server has no conditional writes, the sink looks first and then writes, which
//! the intent makes safe: whoever writes that name writes the same content.

mod checksum;

mod client;

mod failure;

mod requests;

mod timed;

mod upload;

mod probe;

mod check;

mod janitor;

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::Client;
use hydrant_core::clock::Clock;
use hydrant_core::retry::{Failing, Fault, Retry, Status};
use hydrant_core::rng::Rng;
use hydrant_core::stage::{ObjectId, ObjectMeta, ObjectSink, ObjectUpload, SinkError};
use hydrant_core::{BoxFuture, Digest};

use self::failure::Failure;
use self::upload::S3Upload;
use crate::key::KeyRules;
use crate::limit::Limit;

pub use self::check::S3Check;
pub use self::checksum::Checksum;
pub use self::client::{S3Credentials, S3Settings};
pub use self::janitor::OpenUploads;

/// How the sink makes sure that a name is never given to other content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum S3Mode {
    /// The server was not probed yet: looks first, and still writes with a condition.
    Unprobed,
    /// Conditional writes, proven for a put; before a multipart completion it looks all the same.
    Conditional,
    /// The server has none: same name, same content, overwritten.
    Overwrite,
}

/// Objects in a bucket.
#[derive(Clone)]
pub struct S3(Arc<Inner>);

struct Inner {
    client: Client,
    settings: S3Settings,
    rules: KeyRules,
    retry: Retry,
    mode: AtomicU8,
    limit: Limit,
    /// Kept while the last probe failed.
    unready: Mutex<Option<Failing>>,
    uploads: OpenUploads,
    /// Uploads of processes that are gone, given up by this one.
    aborted: AtomicU64,
    /// Uploads that were dropped, as key and upload id; aborted when the next one starts.
    orphans: Mutex<Vec<(String, String)>>,
}

impl S3 {
    /// A sink into a bucket; what it has under way it notes in `uploads`. Asks the server nothing yet; a region that is not set comes from the
    /// environment, the profile, or the machine's instance metadata.
    ///
    /// # Errors
    /// With every fault of the settings.
    pub async fn new(
        settings: S3Settings,
        rules: KeyRules,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        uploads: OpenUploads,
    ) -> Result<Self, Vec<String>> {
        let faults = client::faults(&settings);
        if !faults.is_empty() {
            return Err(faults);
        }
        let client = client::client(&settings, clock.clone())
            .await
            .map_err(|fault| vec![fault])?;
        let (mode, limit) = (AtomicU8::new(0), Limit::default());
        let retry = Retry::of_destination(clock, rng);
        Ok(Self(Arc::new(Inner {
            client,
            settings,
            rules,
            retry,
            mode,
            limit,
            unready: Mutex::default(),
            uploads,
            aborted: AtomicU64::new(0),
            orphans: Mutex::default(),
        })))
    }

    /// Puts a probe object twice, to learn whether the server has conditional writes, and removes
    /// it. Every request is tried once.
    ///
    /// # Errors
    /// [`SinkError::Unavailable`] where the server cannot be reached or refuses: the cause says why.
    pub async fn probe(&self) -> Result<S3Mode, SinkError> {
        let mode = probe::probe(&self.0).await?;
        self.0.set_mode(mode);
        Ok(mode)
    }

    /// Tries everything that delivering does, with objects below the static part of the prefix
    /// whose names hold `name`, and removes them.
    pub async fn check(&self, name: &str) -> S3Check {
        Box::pin(check::check(&self.0, name)).await
    }

    /// How names are kept from being given twice.
    pub fn mode(&self) -> S3Mode {
        self.0.mode()
    }

    /// The counters of this sink.
    pub fn status(&self) -> Status {
        self.0.retry.status().clone()
    }
}

impl ObjectSink for S3 {
    fn digest(&self) -> Digest {
        let settings = &self.0.settings;
        let endpoint = settings.endpoint.as_deref().unwrap_or_default();
        let rules = self.0.rules.digest();
        let parts: [&[u8]; 4] = [
            b"s3",
            settings.bucket.as_bytes(),
            endpoint.as_bytes(),
            rules.as_bytes(),
        ];
        Digest::of_parts(&parts)
    }

    fn key(&self, id: &ObjectId<'_>) -> String {
        self.0.rules.key(id)
    }

    fn object(&self, meta: ObjectMeta) -> Box<dyn ObjectUpload> {
        Box::new(S3Upload::new(self.0.clone(), meta))
    }
}

impl Inner {
    fn mode(&self) -> S3Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => S3Mode::Unprobed,
            1 => S3Mode::Conditional,
            _ => S3Mode::Overwrite,
        }
    }

    fn set_mode(&self, mode: S3Mode) {
        let number = match mode {
            S3Mode::Unprobed => 0,
            S3Mode::Conditional => 1,
            S3Mode::Overwrite => 2,
        };
        self.mode.store(number, Ordering::Relaxed);
    }

    /// Notes how the last probe went: a sink that never got ready fails too.
    fn set_unready(&self, fault: Option<&Fault>) {
        let status = self.retry.status();
        let failing = fault.map(|fault| {
            status.failed(fault.class, &fault.text);
            status.fails(fault.class)
        });
        let ready = failing.is_none();
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = failing;
        if ready {
            status.succeeded();
        }
    }

    fn place(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.settings.bucket)
    }

    fn orphans(&self) -> std::sync::MutexGuard<'_, Vec<(String, String)>> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request until it succeeds, or fails in a way that is `special` to it. Dropping it
    /// cancels.
    async fn until_done<'a, T>(
        &'a self,
        what: &str,
        key: &str,
        special: fn(&Failure) -> bool,
        request: impl Fn() -> BoxFuture<'a, Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut attempts = self.retry.attempts();
        loop {
            let fault = match request().await {
                Ok(done) => {
                    attempts.succeeded();
                    return Ok(done);
                }
                Err(failure) if special(&failure) => {
                    // An answer, if not the one that was hoped for.
                    attempts.succeeded();
                    return Err(failure);
                }
                Err(failure) => failure.into_fault(),
            };
            attempts.pause(what, &self.place(key), &fault).await;
        }
    }
}
