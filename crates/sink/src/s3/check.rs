//! Tries everything that delivering does at a bucket, with objects of its own that it removes, and
//! says which permission a refused step needs. Every request is tried once.

use aws_sdk_s3::types::CompletedPart;
use bytes::Bytes;
use hydrant_aws::{Refused, RefusedKind};
use hydrant_core::stage::ObjectMeta;

use super::Inner;
use super::failure::Failure;
use super::probe::PROBE_DIR;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct S3Check {
    /// Steps that did not pass.
    pub refused: Vec<Refused>,
    /// What works, and is worth a look all the same.
    pub notes: Vec<String>,
}

/// The check of one bucket.
struct Check<'a> {
    sink: &'a Inner,
    found: S3Check,
    /// Nothing further is tried: it would fail in the same way.
    over: bool,
}

const BODY: &[u8] = b"hydrant check --live writes this and removes it\n";

const PUT: &str = "s3:PutObject";

pub(super) async fn check(sink: &Inner, name: &str) -> S3Check {
    let key = format!("{}{PROBE_DIR}check-{name}", sink.rules.static_prefix());
    let mut check = Check {
        sink,
        found: S3Check::default(),
        over: false,
    };
    let written = check.put(&key).await;
    if !check.over {
        check.look(&key, written).await;
        let parts = format!("{key}-parts");
        let completed = check.complete(&parts).await;
        check.abort(&parts).await;
        for (key, there) in [(&key, written), (&parts, completed)] {
            if there {
                let deleted = sink.delete(key).await;
                check.step("removing an object", "s3:DeleteObject", deleted);
            }
        }
        check.lifecycle().await;
        check.listing().await;
    }
    check.found
}

impl Check<'_> {
    /// Writes an object, and the same once more: the condition must hold the second one off.
    async fn put(&mut self, key: &str) -> bool {
        let (sink, checksum) = (self.sink, self.sink.settings.checksum.of(BODY));
        let meta = meta(key);
        let body = Bytes::from_static(BODY);
        let put = || Box::pin(sink.put(&meta, body.clone(), &checksum));
        match put().await {
            Err(Failure::Unsupported(text)) => {
                self.unconditional(&text);
                return false;
            }
            written => {
                if self.step("writing an object", PUT, written).is_none() {
                    return false;
                }
            }
        }
        match put().await {
            Err(Failure::Exists) => {}
            Ok(()) => self.unconditional("a second write was taken"),
            Err(Failure::Unsupported(text)) => self.unconditional(&text),
            refused => {
                self.step("writing on a condition", PUT, refused);
            }
        }
        true
    }

    fn unconditional(&mut self, text: &str) {
        self.found.notes.push(format!(
            "the server has no conditional writes ({text}): hydrant looks before it writes, and \
             writes the same content under the same name"
        ));
    }

    /// Asks for an object that is there, and for one that is not.
    async fn look(&mut self, key: &str, written: bool) {
        if written {
            let head = self.sink.head(key).await;
            self.step("asking for an object", "s3:GetObject", head);
        }
        let absent = self.sink.head(&format!("{key}-absent")).await;
        if !matches!(absent, Err(Failure::NotThere(_))) {
            let step = "asking for an object that is not there";
            self.step(step, "s3:ListBucket", absent);
        }
    }

    /// Sends an object in parts.
    async fn complete(&mut self, key: &str) -> bool {
        let Some((id, part)) = self.start(key).await else {
            return false;
        };
        let checksum = self.sink.settings.checksum.of(BODY);
        let parts = [part];
        let done = self.sink.complete_multipart(key, &id, &parts, &checksum);
        let done = done.await;
        self.step("completing an upload in parts", PUT, done)
            .is_some()
    }

    /// Begins an upload in parts and gives it up.
    async fn abort(&mut self, key: &str) {
        if let Some((id, _)) = self.start(key).await {
            let aborted = self.sink.abort_multipart(key, &id).await;
            let step = "giving up an upload in parts";
            self.step(step, "s3:AbortMultipartUpload", aborted);
        }
    }

    async fn start(&mut self, key: &str) -> Option<(String, CompletedPart)> {
        let created = self.sink.create_multipart(&meta(key)).await;
        let id = self.step("beginning an upload in parts", PUT, created)?;
        let body = Bytes::from_static(BODY);
        let sent = Box::pin(self.sink.upload_part(key, &id, 1, body)).await;
        let part = self.step("sending a part", PUT, sent)?;
        Some((id, part))
    }

    /// Parts of uploads that nobody completes cost money until a rule removes them.
    async fn lifecycle(&mut self) {
        let advice = "a rule that aborts incomplete multipart uploads after a day is advised";
        match self.sink.aborts_incomplete_uploads().await {
            Ok(true) => {}
            Ok(false) => {
                let note = format!("the bucket has no such lifecycle rule: {advice}");
                self.found.notes.push(note);
            }
            Err(failure) => {
                let text = failure.into_fault().text;
                let note =
                    format!("the bucket's lifecycle rules cannot be read ({text}): {advice}");
                self.found.notes.push(note);
            }
        }
    }

    /// Without it what a killed process leaves behind is not found.
    async fn listing(&mut self) {
        if self.sink.settings.abort_uploads_after.is_none() {
            return;
        }
        if let Err(failure) = self.sink.list_multipart(PROBE_DIR, None).await {
            let text = failure.into_fault().text;
            self.found.notes.push(format!(
                "uploads that a killed process leaves behind cannot be found ({text}): allow \
                 s3:ListBucketMultipartUploads, or set `abort_uploads_after: never`"
            ));
        }
    }

    /// Notes a step that did not pass. The same fault is told once: one permission often is
    /// needed by several steps.
    fn step<T>(
        &mut self,
        step: &'static str,
        action: &'static str,
        done: Result<T, Failure>,
    ) -> Option<T> {
        let fault = match done {
            Ok(done) => return Some(done),
            Err(failure) => failure.into_fault(),
        };
        let kind = RefusedKind::of(&fault, action);
        self.over |= matches!(kind, RefusedKind::Missing | RefusedKind::Credentials)
            || (kind == RefusedKind::Server && self.found.refused.is_empty());
        if !self.found.refused.iter().any(|one| one.kind == kind) {
            self.found.refused.push(Refused {
                step,
                error: fault.text,
                kind,
            });
        }
        None
    }
}

fn meta(key: &str) -> ObjectMeta {
    ObjectMeta {
        key: key.to_owned(),
        content_encoding: None,
        metadata: Vec::new(),
    }
}
