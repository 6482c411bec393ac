//! One call: its head is looked at, its body is read within the budget, and it gets its answer.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use httpdate::HttpDate;
use hydrant_core::budget::Permit;
use hydrant_core::clock::Clock;
use hydrant_core::rng::Rng;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use super::MAX_HEADER_BYTES;
use crate::kinesis::{Kinesis, TARGET};
use crate::protocol::{Fault, Reply, Wire};

/// Longest request body: 10 MiB of records in base64, and the rest of the JSON. In CBOR it is less.
const MAX_BODY_BYTES: usize = 16 << 20;

/// A put holds its body, the decoded data (in CBOR what came in chunks) and the blocks made of it.
const COPIES_OF_BODY: usize = 3;

/// Within each such time a body must bring [`WINDOW_BYTES`] (1 KiB/s), and the same share of its length
/// that [`WINDOWS`] are of all: its bytes of the budget are taken from the start.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_BYTES: usize = 10 << 10;

/// Windows that a body of any length may take: 5 minutes, 52 KiB/s for the longest.
const WINDOWS: usize = 30;

/// The end of the year 9998: dates of HTTP have four digits.
const LAST_DATE_MS: u64 = 253_370_764_799_999;

/// What is refused for lack of memory is read on for so long, and thrown away.
const DISCARD: Duration = Duration::from_secs(5);

/// Answers calls.
pub(super) struct Api {
    pub(super) kinesis: Arc<Kinesis>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
}

impl Api {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
        let cross_origin = request.headers().contains_key(ORIGIN);
        let wire = Wire::of(request.headers());
        let mut response = match self.call(request, wire).await {
            Ok(response) => response,
            Err(fault) => {
                let body = fault.body(wire.unwrap_or(Wire::Json));
                let mut response = Response::new(Reply::new(body));
                *response.status_mut() = fault.status;
                let kind = HeaderValue::from_static(fault.kind);
                response.headers_mut().insert("x-amzn-errortype", kind);
                response
            }
        };
        let headers = response.headers_mut();
        let content_type = wire.unwrap_or(Wire::Json).content_type();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.identify(headers);
        if cross_origin {
            headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        }
        response
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        wire: Option<Wire>,
    ) -> Result<Response<Reply>, Fault> {
        if request.method() == Method::OPTIONS {
            let mut response = Response::new(Reply::empty());
            let age = HeaderValue::from_static("172800");
            response.headers_mut().insert("access-control-max-age", age);
            return Ok(response);
        }
        if request.method() != Method::POST {
            return Err(
                Fault::new("AccessDeniedException", "calls are POST requests")
                    .with_status(StatusCode::FORBIDDEN),
            );
        }
        check_head(request.headers())?;
        let operation = operation(request.headers())?.to_owned();
        let wire = wire.ok_or_else(other_content_type)?;
        let (body, permit) = self.body(request.into_body()).await?;
        let reply = self.kinesis.call(&operation, wire, body).await;
        // Held until here: the body and what was made of it. The answer holds its own.
        drop(permit);
        reply.map(Response::new)
    }

    /// Reads the body, after its bytes were taken from the budget.
    async fn body(&self, mut body: Incoming) -> Result<(Bytes, Permit), Fault> {
        let announced = body.size_hint().exact();
        let length = announced.map_or(MAX_BODY_BYTES, |length| {
            usize::try_from(length).unwrap_or(usize::MAX)
        });
        if length > MAX_BODY_BYTES {
            return Err(too_long());
        }
        let mut permit = match self.kinesis.hold(length * COPIES_OF_BODY).await {
            Ok(permit) => permit,
            Err(throttled) => {
                self.discard(body).await;
                return Err(throttled);
            }
        };
        let mut gathered = BytesMut::new();
        let (mut window, mut since) = (self.clock.sleep(WINDOW), 0);
        let least = WINDOW_BYTES.max(length / WINDOWS);
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut window => {
                    if gathered.len() < since + least {
                        return Err(Fault::serialization("the request body comes too slowly")
                            .with_status(StatusCode::REQUEST_TIMEOUT));
                    }
                    since = gathered.len();
                    window = self.clock.sleep(WINDOW);
                    continue;
                }
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Fault::serialization("the request body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if gathered.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_long());
            }
            if gathered.is_empty() {
                gathered.reserve(announced.map_or(data.len(), |_| length));
            }
            gathered.extend_from_slice(&data);
        }
        permit.resize(gathered.len() * COPIES_OF_BODY);
        Ok((gathered.freeze(), permit))
    }

    /// Reads a body on and keeps nothing of it: a client that still sends would take the closed
    /// connection for the answer.
    async fn discard(&self, mut body: Incoming) {
        let (mut over, mut left) = (self.clock.sleep(DISCARD), MAX_BODY_BYTES);
        while left > 0 {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut over => return,
            };
            let Some(Ok(frame)) = frame else { return };
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    }

    /// Adds when it was answered, by our clock, and the ids by which a call is found again.
    fn identify(&self, headers: &mut HeaderMap) {
        let (high, low) = (self.rng.next(), self.rng.next());
        let id = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0x3fff | 0x8000,
            low & 0xffff_ffff_ffff
        );
        let mut extended = [0; 72];
        for bytes in extended.chunks_mut(8) {
            bytes.copy_from_slice(&self.rng.next().to_be_bytes());
        }
        let extended = base64_simd::STANDARD.encode_to_string(extended);
        let date = UNIX_EPOCH + Duration::from_millis(self.clock.wall_ms().min(LAST_DATE_MS));
        let date = HttpDate::from(date).to_string();
        for (name, value) in [
            ("date", date),
            ("x-amzn-requestid", id),
            ("x-amz-id-2", extended),
        ] {
            let value =
                HeaderValue::try_from(value).expect("dates, hex and base64 are header values");
            headers.insert(name, value);
        }
    }
}

fn too_long() -> Fault {
    Fault::serialization(format!(
        "the request body is longer than the limit of {MAX_BODY_BYTES} bytes"
    ))
    .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

/// HTTP/1 heads are bounded by the read buffer only; this is the limit for both versions.
fn check_head(headers: &HeaderMap) -> Result<(), Fault> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if bytes > MAX_HEADER_BYTES as usize {
        return Err(Fault::serialization(format!(
            "the request head is {bytes} bytes, limit {MAX_HEADER_BYTES}"
        ))
        .with_status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    }
    Ok(())
}

/// The operation that the target header names.
fn operation(headers: &HeaderMap) -> Result<&str, Fault> {
    headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .and_then(|target| target.strip_prefix(TARGET))
        .filter(|operation| Kinesis::knows(operation))
        .ok_or_else(Fault::unknown_operation)
}

fn other_content_type() -> Fault {
    let (json, cbor) = (Wire::Json.content_type(), Wire::Cbor.content_type());
    let message = format!("the content type must be {json} or {cbor}");
    Fault::new("UnknownOperationException", message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}
