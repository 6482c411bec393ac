//! Answers: a body that holds its bytes of the budget until it is sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hydrant_core::budget::Permit;
use hyper::body::{Body, Frame, SizeHint};

use super::Wire;

/// The body of an answer, in one piece.
#[derive(Default)]
pub(crate) struct Reply {
    bytes: Option<Bytes>,
    permit: Option<Permit>,
}

/// The bytes of an answer with what is held for them. HTTP drops the body once it has the bytes, and
/// those once the client has taken them.
struct Sending<T> {
    bytes: Bytes,
    _permit: Option<Permit>,
    _held: T,
}

impl<T> AsRef<[u8]> for Sending<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Reply {
    /// An answer without members: Kinesis sends no body at all.
    pub(crate) fn empty() -> Self {
        Self::default()
    }

    /// An answer of these bytes.
    pub(crate) fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes: Bytes = bytes.into();
        Self {
            bytes: Some(bytes).filter(|bytes| !bytes.is_empty()),
            permit: None,
        }
    }

    /// The members of an answer; null is none.
    pub(crate) fn of(answer: &serde_json::Value, wire: Wire) -> Self {
        if answer.is_null() {
            return Self::empty();
        }
        Self::new(wire.write(answer))
    }

    /// Holds bytes of the budget until the body is sent.
    pub(crate) fn holding(self, permit: Permit) -> Self {
        Self {
            permit: Some(permit),
            ..self
        }
    }

    /// Holds what `held` makes of the number of bytes, and the bytes of the budget, until the client
    /// has taken the body.
    pub(crate) fn until_sent<T: Send + Sync + 'static>(
        self,
        held: impl FnOnce(usize) -> T,
    ) -> Self {
        let Self { bytes, permit } = self;
        let bytes = bytes.map(|bytes| {
            Bytes::from_owner(Sending {
                _held: held(bytes.len()),
                _permit: permit,
                bytes,
            })
        });
        Self {
            bytes,
            permit: None,
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
