//! What a check of a service says of a step that was refused.

use hydrant_core::retry::{Class, Fault};

/// Parts of errors that say that no request of these keys is taken, or that there are none.
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
    "credential",
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
