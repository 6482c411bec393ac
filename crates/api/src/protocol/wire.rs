//! The two forms of bodies. A request is answered in its own.

use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde_json::{Map, Value};

use super::{Fault, cbor, members};

/// A form of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Blobs are base64, moments are seconds with a fraction.
    Json,
    /// Blobs are byte strings, moments are tagged milliseconds. Java SDKs send it.
    Cbor,
}

impl Wire {
    /// The form that a request's content type names.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let given = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let given = given.split(';').next().unwrap_or_default().trim();
        [Self::Json, Self::Cbor]
            .into_iter()
            .find(|wire| given.eq_ignore_ascii_case(wire.content_type()))
    }

    /// The content type of bodies of this form.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads the body of a request, as JSON would carry it.
    pub(crate) fn parse(self, body: &[u8]) -> Result<Map<String, Value>, Fault> {
        match self {
            Self::Json => members::parse(body),
            Self::Cbor => cbor::parse(body),
        }
    }

    /// The body of an answer.
    pub(crate) fn write(self, answer: &Value) -> Vec<u8> {
        match self {
            Self::Json => answer.to_string().into_bytes(),
            Self::Cbor => cbor::write(answer),
        }
    }
}
