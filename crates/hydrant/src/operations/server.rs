//! The HTTP server: a few pages that only read, on a listener of their own.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hydrant_core::clock::Clock;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::metrics::render;
use super::snapshot::Snapshot;

/// Connections at a time: some scrapers, probes and people; more wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
/// A connection that sends no whole request head for so long is closed; longer than the usual
/// interval of a scraper, so that it keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Longest request head.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// Requests that run when the server is told to end have so long.
const GRACE: Duration = Duration::from_secs(2);
/// The pause after a failed accept (out of file handles, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The text format's media type.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Gives the service at this moment. Called for each request, on the async threads: it must not
/// block.
pub type SnapshotSource = Arc<dyn Fn() -> Snapshot + Send + Sync>;

/// A server that listens, but does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// Listens.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn bind(listen: SocketAddr) -> anyhow::Result<Server> {
    let failed = || format!("operations cannot listen on {listen}");
    let listener = TcpListener::bind(listen).await.with_context(failed)?;
    let address = listener.local_addr().with_context(failed)?;
    Ok(Server { listener, address })
}

impl Server {
    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end` completes, then lets running requests end (2 s at most). Dropping the
    /// future cuts them off.
    pub async fn serve(
        self,
        source: SnapshotSource,
        clock: Arc<dyn Clock>,
        end: impl Future<Output = ()>,
    ) {
        let router = router(source);
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let (mut connections, mut end) = (JoinSet::new(), std::pin::pin!(end));
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut end => break,
                Some(ended) = connections.join_next() => {
                    note_panic(ended);
                    continue;
                }
                accepted = accept(&self.listener, &slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(connection(stream, slot, router.clone(), graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to operations was not accepted");
                    clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        tokio::select! {
            biased;
            () = graceful.shutdown() => {}
            () = clock.sleep(GRACE) => {}
        }
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection(
    stream: TcpStream,
    slot: OwnedSemaphorePermit,
    router: Router,
    watcher: Watcher,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(served).await {
        tracing::debug!(%error, "a connection to operations ended early");
    }
    drop(slot);
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task panicked");
    }
}

fn router(source: SnapshotSource) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/api/v1/streams", get(streams))
        .with_state(source)
}

/// A destination that fails makes it no less ready: records are taken and kept. It is named.
async fn readyz(State(source): State<SnapshotSource>) -> (StatusCode, String) {
    let snapshot = source();
    if !snapshot.ready {
        let text = "starting or draining\n".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, text);
    }
    let mut text = "ready\n".to_owned();
    for stream in &snapshot.delivery_streams {
        if let Some(error) = &stream.last_error {
            writeln!(text, "failing: {}: {error}", stream.name).expect("a String takes all text");
        }
    }
    (StatusCode::OK, text)
}

async fn metrics(State(source): State<SnapshotSource>) -> Response {
    ([(CONTENT_TYPE, PROMETHEUS)], render(&source())).into_response()
}

async fn streams(State(source): State<SnapshotSource>) -> Response {
    match serde_json::to_string_pretty(&source()) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        Err(error) => {
            tracing::error!(%error, "the status has no JSON form");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
