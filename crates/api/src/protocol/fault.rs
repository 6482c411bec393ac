//! What a request gets instead of an answer: a type, a message, a status. Messages follow what
//! clients know from Kinesis; they never hold payload.

use hyper::StatusCode;

use super::Wire;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// The error type, as SDKs know it.
    pub(crate) kind: &'static str,
    /// What is wrong.
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The body cannot be read, or a member has the wrong type.
    pub(crate) fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", message)
    }

    /// Members contradict each other or name what cannot be.
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self::new("InvalidArgumentException", message)
    }

    /// A stream or shard does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    /// A stream exists already, or is not in the state that the call needs.
    pub(crate) fn in_use(message: impl Into<String>) -> Self {
        Self::new("ResourceInUseException", message)
    }

    /// Too many of something.
    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new("LimitExceededException", message)
    }

    /// Come back later.
    pub(crate) fn throttled(message: impl Into<String>) -> Self {
        Self::new("ProvisionedThroughputExceededException", message)
    }

    /// No such operation.
    pub(crate) fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", "")
    }

    /// Something broke here. The cause goes to the log, not to the client.
    pub(crate) fn internal() -> Self {
        Self::new("InternalFailure", "Internal Service Failure")
            .with_status(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The body of the answer. `SerializationException` spells its member `Message`.
    pub(crate) fn body(&self, wire: Wire) -> Vec<u8> {
        let member = if self.kind == "SerializationException" {
            "Message"
        } else {
            "message"
        };
        let mut object = serde_json::Map::new();
        object.insert("__type".to_owned(), self.kind.into());
        if !self.message.is_empty() {
            object.insert(member.to_owned(), self.message.as_str().into());
        }
        wire.write(&object.into())
    }
}
