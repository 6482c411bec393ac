//! Gives up the multipart uploads that earlier processes of this delivery stream began and nobody will
//! complete: a killed process forgets their ids, and their parts cost money until someone aborts them.
//!
//! Only uploads whose key this stream would give (`KeyRules::is_own`), that are old, and that this
//! process has not under way. Should another process still have one under way, it renders that range
//! again: an abort never costs a record.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_s3::types::MultipartUpload;
use hydrant_core::retry::Class;
use hydrant_core::stage::SinkError;
use tracing::{debug, info, warn};

use super::failure::Failure;
use super::probe::PROBE_DIR;
use super::{Inner, S3};

/// How often it is looked for them.
const EVERY: Duration = Duration::from_hours(1);
/// The same after a failure that passes, and after how many of these in a row it is none.
const SOON: Duration = Duration::from_mins(5);
const PASSING_MAX: u32 = 3;
/// Pages of one listing, of up to 1,000 uploads each: what is beyond is seen once these are gone.
const PAGES_MAX: usize = 1000;
/// Uploads given up in one round, for the sake of memory; the next round goes on.
const ABORTS_MAX: usize = 10_000;
/// What to do where they cannot be listed or given up.
const REMEDY: &str = "allow s3:ListBucketMultipartUploads and s3:AbortMultipartUpload, or set a lifecycle \
                      rule that aborts incomplete multipart uploads and `abort_uploads_after: never`";

/// The uploads that this process has under way, by id. Shared by all sinks, so that one of an earlier
/// version of a delivery stream keeps its own.
#[derive(Clone, Debug, Default)]
pub struct OpenUploads(Arc<Mutex<BTreeSet<String>>>);

/// An upload is under way, as long as this is kept.
pub(super) struct OpenUpload {
    all: OpenUploads,
    id: String,
}

impl OpenUploads {
    pub(super) fn begin(&self, id: &str) -> OpenUpload {
        self.lock().insert(id.to_owned());
        OpenUpload {
            all: self.clone(),
            id: id.to_owned(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenUpload {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

/// An upload that nobody will complete.
struct Abandoned {
    key: String,
    id: String,
}

impl S3 {
    /// Gives up abandoned uploads, now and every hour, for as long as it is polled; does nothing where
    /// the settings say so. Where the server does not let it there is one warning.
    pub async fn keep_clean(&self) {
        let Some(age) = self.0.settings.abort_uploads_after else {
            return std::future::pending().await;
        };
        let (mut failed, mut warned) = (0, false);
        loop {
            let cleaned = self.0.clean(age).await;
            let place = self.0.place("");
            let pause = match cleaned {
                Ok(aborted) => {
                    (failed, warned) = (0, false);
                    if aborted > 0 {
                        info!(
                            place,
                            aborted, "uploads that a killed process left were given up"
                        );
                    }
                    EVERY
                }
                Err(failure) => {
                    failed += 1;
                    let lasts = failed >= PASSING_MAX || lasts(&failure);
                    let error = failure.into_fault().text;
                    if lasts && !std::mem::replace(&mut warned, true) {
                        warn!(
                            place,
                            error,
                            remedy = REMEDY,
                            "uploads that were left behind stay"
                        );
                    } else {
                        debug!(place, error, "uploads that were left behind stay");
                    }
                    if lasts { EVERY } else { SOON }
                }
            };
            self.0.retry.clock().sleep(pause).await;
        }
    }

    /// Gives up what is abandoned now, once; gives how many that were.
    ///
    /// # Errors
    /// Where the server does not let it list or give up uploads; tried once. Some may be gone then.
    pub async fn clean(&self, age: Duration) -> Result<u64, SinkError> {
        let cleaned = self.0.clean(age).await;
        cleaned.map_err(|failure| SinkError::Unavailable(failure.into_fault().text.into()))
    }

    /// Uploads given up because a process that is gone left them behind.
    pub fn aborted_uploads(&self) -> u64 {
        self.0.aborted.load(Ordering::Relaxed)
    }
}

/// Whether a person has to change something, or nothing can be done.
fn lasts(failure: &Failure) -> bool {
    match failure {
        Failure::Unsupported(_) | Failure::NotThere(_) => true,
        Failure::Fault(fault) => matches!(fault.class, Class::Auth | Class::Missing),
        Failure::Exists | Failure::UploadLost(_) => false,
    }
}

impl Inner {
    async fn clean(&self, age: Duration) -> Result<u64, Failure> {
        let now_ms = self.retry.clock().wall_ms();
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let before_ms = i64::try_from(now_ms.saturating_sub(age_ms)).unwrap_or(i64::MAX);
        let mut found = Vec::new();
        for prefix in self.listed_prefixes() {
            self.list(prefix, before_ms, &mut found).await?;
        }
        let mut aborted = 0;
        for one in found {
            // Begun meanwhile it cannot be: it is old. It may have been completed.
            match self.abort_multipart(&one.key, &one.id).await {
                Ok(()) => {
                    aborted += 1;
                    self.aborted.fetch_add(1, Ordering::Relaxed);
                }
                Err(Failure::UploadLost(_) | Failure::NotThere(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(aborted)
    }

    /// Where to look. `MinIO` takes a prefix here for a whole key (minio/minio issue 20989), so at a
    /// compatible server all uploads of the bucket are looked at.
    fn listed_prefixes(&self) -> Vec<&str> {
        if self.settings.endpoint.is_some() {
            vec![""]
        } else {
            self.rules.static_prefixes()
        }
    }

    async fn list(
        &self,
        prefix: &str,
        before_ms: i64,
        found: &mut Vec<Abandoned>,
    ) -> Result<(), Failure> {
        // By the key alone: some servers refuse the id that they gave (versitygw 1.8). Of a key whose
        // uploads do not fit on a page the rest is seen the next time.
        let mut after = None;
        for _ in 0..PAGES_MAX {
            let page = self.list_multipart(prefix, after.as_deref()).await?;
            let open = self.uploads.lock();
            let abandoned = page.uploads().iter().filter_map(|upload| {
                let one = self.abandoned(upload, before_ms)?;
                (!open.contains(&one.id)).then_some(one)
            });
            found.extend(abandoned.take(ABORTS_MAX.saturating_sub(found.len())));
            drop(open);
            let (more, next) = (page.is_truncated == Some(true), page.next_key_marker);
            // A server that does not get on is asked no further.
            if !more || next.is_none() || next == after || found.len() >= ABORTS_MAX {
                break;
            }
            after = next;
        }
        Ok(())
    }

    fn abandoned(&self, upload: &MultipartUpload, before_ms: i64) -> Option<Abandoned> {
        let (key, id) = (upload.key()?, upload.upload_id()?);
        let initiated_ms = upload.initiated()?.to_millis().ok()?;
        let checked = format!("{}{PROBE_DIR}check-", self.rules.static_prefix());
        let own = self.rules.is_own(key) || key.starts_with(&checked);
        (own && initiated_ms <= before_ms).then(|| Abandoned {
            key: key.to_owned(),
            id: id.to_owned(),
        })
    }
}
