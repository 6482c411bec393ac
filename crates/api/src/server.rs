//! The listener: connections, limits of time and size, and what is common to all calls.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hydrant_core::budget::{Account, Permit};
use hydrant_core::clock::Clock;
use hydrant_core::rng::Rng;
use hydrant_log::stream::Streams;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::kinesis::{Kinesis, TARGET};
use crate::protocol::{Fault, Reply, Wire};
use crate::{Error, Settings};

/// Longest request body: 10 MiB of records in base64, and the rest of the JSON. In CBOR it is less.
const MAX_BODY_BYTES: usize = 16 << 20;

/// A put holds its body, the decoded data (in CBOR what came in chunks) and the blocks made of it.
const COPIES_OF_BODY: usize = 3;

/// Longest request head.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Connections at a time; more wait in the backlog.
const MAX_CONNECTIONS: usize = 4096;

/// Streams of one HTTP/2 connection at a time.
const MAX_H2_STREAMS: u32 = 128;

/// A connection that has not sent a whole request head by then is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A connection that sends no further request head for so long is closed.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Within each such time a body must bring [`WINDOW_BYTES`]: 1 KiB/s.
const WINDOW: Duration = Duration::from_secs(10);
const WINDOW_BYTES: usize = 10 << 10;

/// What is refused for lack of memory is read on for so long, and thrown away.
const DISCARD: Duration = Duration::from_secs(5);

/// Calls that run when the server is told to stop have so long to end.
const GRACE: Duration = Duration::from_secs(20);

/// The pause after a failed accept (out of file handles, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens, but does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    settings: Settings,
}

/// Checks the settings and listens.
///
/// # Errors
/// `OpenToAll`; `Bind`.
pub async fn bind(settings: Settings) -> Result<Server, Error> {
    settings.check()?;
    let listen = settings.listen;
    let failed = |source| Error::Bind { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Server {
        listener,
        address,
        settings,
    })
}

/// Listens and serves until `shutdown` completes: [`bind`] and [`Server::serve`] in one.
///
/// # Errors
/// As [`bind`].
pub async fn serve(
    settings: Settings,
    streams: Arc<Streams>,
    account: Account,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    bind(settings)
        .await?
        .serve(streams, account, clock, rng, shutdown)
        .await;
    Ok(())
}

impl Server {
    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` completes, then lets running calls end (20 s at most). `account`
    /// is where bodies and answers take their bytes from. Dropping the future cuts all calls off.
    pub async fn serve(
        self,
        streams: Arc<Streams>,
        account: Account,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        shutdown: impl Future<Output = ()>,
    ) {
        let kinesis = Kinesis::new(streams, account, clock.clone(), self.settings.region);
        let api = Arc::new(Api {
            kinesis: Arc::new(kinesis),
            clock: clock.clone(),
            rng,
        });
        let (slots, graceful) = (
            Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            GracefulShutdown::new(),
        );
        let (mut connections, mut shutdown) = (JoinSet::new(), std::pin::pin!(shutdown));
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = accept(&self.listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(connection(stream, slot, api.clone(), graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        tokio::select! {
            biased;
            () = graceful.shutdown() => {}
            () = clock.sleep(GRACE) => tracing::warn!("calls were cut off at shutdown"),
        }
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a connection's task panicked"
        );
    }
}

/// Serves one connection to its end.
async fn connection(
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    api: Arc<Api>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = &error as &dyn std::error::Error, "no TCP_NODELAY");
    }
    let (clock, begun) = (api.clock.clone(), Arc::new(AtomicBool::new(false)));
    let service = {
        let begun = begun.clone();
        service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            let api = api.clone();
            async move { Ok::<_, Infallible>(api.answer(request).await) }
        })
    };
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(KEEP_ALIVE)
        .max_buf_size(64 << 10)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(FIRST_REQUEST)
        .max_concurrent_streams(MAX_H2_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES);
    let served = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    let mut served = std::pin::pin!(watcher.watch(served));
    let mut first = clock.sleep(FIRST_REQUEST);
    let ended = tokio::select! {
        biased;
        ended = &mut served => ended,
        () = &mut first => {
            if !begun.load(Ordering::Relaxed) {
                return;
            }
            served.await
        }
    };
    drop(slot);
    if let Err(error) = ended {
        tracing::debug!(error = &*error, "a connection broke");
    }
}

/// Answers calls.
struct Api {
    kinesis: Arc<Kinesis>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Api {
    async fn answer(&self, request: Request<Incoming>) -> Response<Reply> {
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
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                () = &mut window => {
                    if gathered.len() < since + WINDOW_BYTES {
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

    /// Adds the ids by which a call is found again.
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
        for (name, value) in [("x-amzn-requestid", id), ("x-amz-id-2", extended)] {
            let value = HeaderValue::try_from(value).expect("hex and base64 are header values");
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
