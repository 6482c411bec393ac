//! What an error of an AWS SDK says: status, code, a text for a person, and how long the server
//! asks to wait.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use hydrant_core::retry::{Class, Outcome};

/// Longest error text kept, in characters: a server may answer with a whole page.
const TEXT_MAX_CHARS: usize = 300;

/// The code of a request that was never sent, because nobody gave credentials for it.
pub(crate) const NO_CREDENTIALS: &str = "NoCredentials";

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The error's code, as in `SlowDown`; empty where there is none.
    pub code: String,
    /// Status, code and the server's message; or what went wrong before there was an answer.
    pub text: String,
    /// The least pause that the server asked for.
    pub after: Option<Duration>,
}

impl Refusal {
    /// What is known of the kinds of failure that all services share; unknown ones count as passing
    /// by themselves (reliability design, section 7).
    pub fn class(&self) -> Class {
        match (self.status, self.code.as_str()) {
            (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded")
            | (429 | 503, _) => Class::Throttled,
            (
                _,
                "ExpiredToken"
                | "ExpiredTokenException"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "AccessDeniedException"
                | "UnrecognizedClientException"
                | "InvalidSignatureException"
                | "IncompleteSignature"
                | "IncompleteSignatureException"
                | "MissingAuthenticationToken"
                | "MissingAuthenticationTokenException"
                | "InvalidClientTokenId"
                | "OptInRequired"
                | NO_CREDENTIALS,
            )
            | (401 | 403, _) => Class::Auth,
            _ => Class::Transient,
        }
    }
}

impl Refusal {
    /// What is known of the service's health by it; nothing where the request was never sent.
    pub fn outcome(&self) -> Option<Outcome> {
        match (self.class(), self.status, self.code.as_str()) {
            (Class::Auth, 0, _) => None,
            (Class::Throttled, ..) => Some(Outcome::Throttled),
            // A success that is none: an error in its body, or a body that cannot be read. S3 tells
            // of a request whose body it waited for in vain with a 400.
            (_, 200..300, _) | (_, _, "InternalError" | "RequestTimeout") => Some(Outcome::Sick),
            (_, status, _) => Some(Outcome::of_status(status)),
        }
    }
}

/// Reads an error of any of the SDKs.
pub fn refusal<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E, HttpResponse>,
) -> Refusal {
    let response = error.raw_response();
    let status = response.map_or(0, |response| response.status().as_u16());
    let code = match error.code() {
        None if status == 0 && lacks_credentials(error) => NO_CREDENTIALS,
        code => code.unwrap_or_default(),
    };
    let code = code.to_owned();
    let after = response
        .and_then(|response| response.headers().get("retry-after"))
        .and_then(|seconds| seconds.trim().parse().ok())
        .map(Duration::from_secs);
    let text = text(error, status, &code);
    Refusal {
        status,
        code,
        text,
        after,
    }
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn text<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E, HttpResponse>,
    status: u16,
    code: &str,
) -> String {
    let mut text = String::new();
    if status != 0 {
        text = format!("{status} {code}");
        if let Some(message) = error.message() {
            text = format!("{text}: {message}");
        } else if let SdkError::ResponseError(_) = error {
            // The answer could not be read: the server's words are not known.
            text = format!("{}: ", text.trim_end());
            push_causes(&mut text, error);
        }
    } else {
        text.push_str(code);
        if !text.is_empty() {
            text.push_str(": ");
        }
        push_causes(&mut text, error);
    }
    text.chars()
        .filter(|char| !char.is_control())
        .take(TEXT_MAX_CHARS)
        .collect()
}

fn push_causes(text: &mut String, error: &dyn Error) {
    text.push_str(&error.to_string());
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
}

#[cfg(test)]
mod tests {
    use super::{NO_CREDENTIALS, Refusal};
    use hydrant_core::retry::{Class, Outcome};

    fn refusal(status: u16, code: &str) -> Refusal {
        Refusal {
            status,
            code: code.to_owned(),
            text: String::new(),
            after: None,
        }
    }

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
            (400, "UnrecognizedClientException", Class::Auth),
            (400, "AccessDeniedException", Class::Auth),
        ] {
            assert_eq!(refusal(status, code).class(), want, "{status} {code}");
        }
    }

    #[test]
    fn only_what_says_that_the_service_is_sick_counts_as_that() {
        for (status, code, want) in [
            (0, "", Some(Outcome::Sick)),
            (0, NO_CREDENTIALS, None),
            (500, "InternalError", Some(Outcome::Sick)),
            (502, "", Some(Outcome::Sick)),
            (200, "InternalError", Some(Outcome::Sick)),
            (200, "", Some(Outcome::Sick)),
            (400, "RequestTimeout", Some(Outcome::Sick)),
            (503, "SlowDown", Some(Outcome::Throttled)),
            (400, "RequestLimitExceeded", Some(Outcome::Throttled)),
            (403, "AccessDenied", Some(Outcome::Answered)),
            (404, "NoSuchBucket", Some(Outcome::Answered)),
            (404, "NoSuchUpload", Some(Outcome::Answered)),
            (409, "ConditionalRequestConflict", Some(Outcome::Answered)),
            (412, "PreconditionFailed", Some(Outcome::Answered)),
            (400, "SomethingNew", Some(Outcome::Answered)),
            (501, "NotImplemented", Some(Outcome::Answered)),
        ] {
            assert_eq!(refusal(status, code).outcome(), want, "{status} {code}");
        }
    }
}
