//! What an S3 error means for the next step. Takes the SDK's error, gives one of few cases;
//! everything unknown counts as passing by itself (reliability design, section 7).

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::retry::Fault;
use crate::status::Class;

/// Longest error text kept, in characters: a server may answer with a whole page.
const TEXT_MAX_CHARS: usize = 300;

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

impl<E: ProvideErrorMetadata + Error + 'static> From<SdkError<E>> for Failure {
    fn from(error: SdkError<E>) -> Self {
        let status = error
            .raw_response()
            .map_or(0, |response| response.status().as_u16());
        let code = error.code().unwrap_or_default();
        let text = text(&error, status, code);
        match (status, code) {
            (412, _) => return Self::Exists,
            (_, "NoSuchUpload" | "InvalidPart") => return Self::UploadLost(text),
            (501, _) => return Self::Unsupported(text),
            (404, code) if code != "NoSuchBucket" => return Self::NotThere(text),
            _ => {}
        }
        let after = error
            .raw_response()
            .and_then(|response| response.headers().get("retry-after"))
            .and_then(|seconds| seconds.trim().parse().ok())
            .map(Duration::from_secs);
        Self::Fault(Fault {
            class: class(status, code),
            after,
            text,
        })
    }
}

fn class(status: u16, code: &str) -> Class {
    match (status, code) {
        (_, "NoSuchBucket") => Class::Missing,
        (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")
        | (429 | 503, _) => Class::Throttled,
        (401 | 403, _) | (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired") => {
            Class::Auth
        }
        _ => Class::Transient,
    }
}

/// Status, code and the server's message; or what went wrong before there was an answer.
fn text<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E>,
    status: u16,
    code: &str,
) -> String {
    let mut text = String::new();
    if status != 0 {
        text = format!("{status} {code}");
        if let Some(message) = error.message() {
            text = format!("{text}: {message}");
        }
    } else {
        let mut cause: Option<&dyn Error> = Some(error);
        while let Some(error) = cause {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            cause = error.source();
        }
    }
    text.chars()
        .filter(|char| !char.is_control())
        .take(TEXT_MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::class;
    use crate::status::Class;

    #[test]
    fn classes_by_status_and_code() {
        for (status, code, want) in [
            (500, "InternalError", Class::Transient),
            (200, "InternalError", Class::Transient),
            (409, "ConditionalRequestConflict", Class::Transient),
            (400, "SomethingNew", Class::Transient),
            (0, "", Class::Transient),
            (503, "SlowDown", Class::Throttled),
            (503, "", Class::Throttled),
            (429, "", Class::Throttled),
            (400, "RequestLimitExceeded", Class::Throttled),
            (401, "", Class::Auth),
            (403, "SignatureDoesNotMatch", Class::Auth),
            (400, "ExpiredToken", Class::Auth),
            (404, "NoSuchBucket", Class::Missing),
        ] {
            assert_eq!(class(status, code), want, "{status} {code}");
        }
    }
}
