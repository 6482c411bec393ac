//! What an S3 error means for the next step. Takes the SDK's error, gives one of few cases;
//! everything unknown counts as passing by itself (reliability design, section 7).

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use hydrant_aws::{Refusal, refusal};
use hydrant_core::retry::{Class, Fault, Outcome};

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The name is taken (412).
    Exists,
    /// The object is not there (404 that names no bucket or upload).
    NotThere(String),
    /// The multipart upload or a part of it is gone.
    UploadLost(String),
    /// The server does not implement what was asked (501).
    Unsupported(String),
    /// Another attempt may succeed.
    Fault(Fault),
}

impl Failure {
    /// For requests where the special cases mean nothing special.
    pub(super) fn into_fault(self) -> Fault {
        let text = match self {
            Self::Fault(fault) => return fault,
            Self::Exists => "412: the name is taken".to_owned(),
            Self::NotThere(text) | Self::UploadLost(text) | Self::Unsupported(text) => text,
        };
        Fault {
            class: Class::Transient,
            after: None,
            text,
        }
    }

    pub(super) fn asks_to_slow_down(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.class == Class::Throttled)
    }

    /// The request took longer than its limit.
    pub(super) fn timeout(limit: Duration) -> Self {
        let text = format!("no answer within {} s", limit.as_secs());
        Self::Fault(Fault {
            class: Class::Transient,
            after: None,
            text,
        })
    }
}

impl Failure {
    /// Reads an error of the SDK; and what it says of the destination's health, if anything.
    pub(super) fn read<E: ProvideErrorMetadata + Error + 'static>(
        error: &SdkError<E>,
    ) -> (Self, Option<Outcome>) {
        let refused = refusal(error);
        let outcome = refused.outcome();
        (Self::of(refused), outcome)
    }

    fn of(refused: Refusal) -> Self {
        let class = class(&refused);
        let text = refused.text;
        match (refused.status, refused.code.as_str()) {
            (412, _) => return Self::Exists,
            (_, "NoSuchUpload" | "InvalidPart") => return Self::UploadLost(text),
            (501, _) => return Self::Unsupported(text),
            (404, code) if code != "NoSuchBucket" => return Self::NotThere(text),
            _ => {}
        }
        Self::Fault(Fault {
            class,
            after: refused.after,
            text,
        })
    }
}

fn class(refused: &Refusal) -> Class {
    if refused.code == "NoSuchBucket" {
        return Class::Missing;
    }
    refused.class()
}

#[cfg(test)]
mod tests {
    use hydrant_aws::Refusal;
    use hydrant_core::retry::Class;

    use super::class;

    #[test]
    fn a_missing_bucket_is_its_own_class() {
        for (status, code, want) in [
            (404, "NoSuchBucket", Class::Missing),
            (503, "SlowDown", Class::Throttled),
            (403, "SignatureDoesNotMatch", Class::Auth),
        ] {
            let refused = Refusal {
                status,
                code: code.to_owned(),
                text: String::new(),
                after: None,
            };
            assert_eq!(class(&refused), want, "{status} {code}");
        }
    }
}
