//! What a check of a service says of a step that was refused.

use hydrant_core::retry::{Class, Fault};

use crate::refusal::NO_CREDENTIALS;

/// Codes that say that no request of these keys is taken, or that there are none. Whole words of a
/// server, and no part of a sentence: a text of ours may speak of credentials, too.
const OF_KEYS: [&str; 10] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "UnrecognizedClient",
    "InvalidSignature",
    "IncompleteSignature",
    "MissingAuthentication",
    "InvalidClientTokenId",
    NO_CREDENTIALS,
];

/// A step that was refused, or did something else than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was tried.
    pub step: &'static str,
    /// The server's words.
    pub error: String,
    /// Why, as far as it can be told.
    pub kind: RefusedKind,
}

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// The bucket or stream is not there.
    Missing,
    /// The keys are not known, their signature is wrong, or there are none.
    Credentials,
    /// This IAM action is not allowed.
    Action(&'static str),
    /// The server cannot be reached, or answers what cannot be used.
    Server,
}

impl RefusedKind {
    /// Why a step failed that needs this IAM action.
    pub fn of(fault: &Fault, action: &'static str) -> Self {
        match fault.class {
            Class::Missing => Self::Missing,
            _ if OF_KEYS.iter().any(|part| fault.text.contains(part)) => Self::Credentials,
            Class::Auth => Self::Action(action),
            Class::Transient | Class::Throttled => Self::Server,
        }
    }
}

#[cfg(test)]
mod tests {
    use hydrant_core::retry::{Class, Fault};

    use super::RefusedKind;

    #[test]
    fn keys_are_told_by_code_and_permissions_by_class() {
        let action = RefusedKind::Action("s3:ListBucket");
        for (class, text, want) in [
            (Class::Auth, "403: check the credentials", action),
            (Class::Auth, "403 AccessDenied", action),
            (
                Class::Auth,
                "403 SignatureDoesNotMatch",
                RefusedKind::Credentials,
            ),
            (
                Class::Auth,
                "NoCredentials: no providers",
                RefusedKind::Credentials,
            ),
            (Class::Missing, "404 NoSuchBucket", RefusedKind::Missing),
            (Class::Transient, "connection refused", RefusedKind::Server),
        ] {
            let (after, text) = (None, text.to_owned());
            let fault = Fault { class, after, text };
            assert_eq!(RefusedKind::of(&fault, "s3:ListBucket"), want, "{fault:?}");
        }
    }
}
