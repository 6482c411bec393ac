//! What the hosts of a run share, and the seams of the server in it: clock, disk threads, listener.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hydrant_api::Listen;
use hydrant_core::BoxFuture;
use hydrant_core::budget::Budget;
use hydrant_core::clock::Clock;
use hydrant_core::offload::{Job, Offload};
use hydrant_core::rng::Rng as _;
use hydrant_log::Error;
use hydrant_log::stream::Catalogue;
use hydrant_testkit::disk::SimDisk;
use hydrant_testkit::sim::world::EPOCH_MS;
use hydrant_testkit::sim::{SimRng, Trace};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;
use turmoil::net::{TcpListener, TcpStream};

use crate::ledger::{Ledger, Stored};
use crate::plan::Plan;

/// Room of the disk while it is not full.
pub(crate) const ROOMY: u64 = 1 << 40;

/// The life of a connection as the server saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) accepted: Duration,
    pub(crate) closed: Option<Duration>,
}

/// When the server must have closed a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Due {
    /// So long after it took it.
    AfterAccept(Duration),
    /// At this time.
    At(Duration),
}

/// What all hosts of a run share.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) rng: Arc<SimRng>,
    pub(crate) trace: Trace,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) budget: Budget,
    pub(crate) disk: Mutex<SimDisk>,
    pub(crate) catalogue: Arc<Entries>,
    pub(crate) stop: watch::Sender<bool>,
    /// Time at the last tick, in milliseconds: what is dropped with its host has no clock.
    now_ms: AtomicU64,
    open: AtomicUsize,
    /// The server takes connections, or did.
    up: AtomicBool,
    /// The server's host is ending, in an order that no seed decides.
    pub(crate) falling: AtomicBool,
    pub(crate) lives: Mutex<BTreeMap<SocketAddr, Life>>,
    pub(crate) dues: Mutex<Vec<(SocketAddr, Due)>>,
    /// The shard that holds records from the start.
    pub(crate) loaded: Mutex<Option<String>>,
    pub(crate) violations: Mutex<Vec<String>>,
    /// When the server had ended, and what its streams held then.
    pub(crate) ended: Mutex<Option<(Duration, Vec<Stored>)>>,
    /// What the server hears.
    pub(crate) times: Mutex<Times>,
}

/// When the world changed for good.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) stopped: Option<Duration>,
    /// The latest that the server was down.
    pub(crate) down: Option<Duration>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Shared {
    pub(crate) fn new(plan: Plan) -> Self {
        Self {
            rng: Arc::new(SimRng::new(plan.seed)),
            budget: Budget::new(plan.budget_bytes),
            plan,
            trace: Trace::default(),
            ledger: Mutex::default(),
            disk: Mutex::new(SimDisk::new(ROOMY)),
            catalogue: Arc::default(),
            stop: watch::Sender::new(false),
            now_ms: AtomicU64::default(),
            open: AtomicUsize::default(),
            up: AtomicBool::default(),
            falling: AtomicBool::default(),
            lives: Mutex::default(),
            dues: Mutex::default(),
            loaded: Mutex::default(),
            violations: Mutex::default(),
            ended: Mutex::default(),
            times: Mutex::default(),
        }
    }

    pub(crate) fn tick(&self, elapsed: Duration) {
        let ms = u64::try_from(elapsed.as_millis()).unwrap();
        self.now_ms.store(ms, Ordering::Relaxed);
    }

    /// Time at the last tick.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    /// The server takes connections from now on.
    pub(crate) fn set_up(&self) {
        self.trace.note(format_args!("server started"));
        self.up.store(true, Ordering::Relaxed);
    }

    /// Whether the server took connections once.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Connections that the server holds.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    pub(crate) fn loaded(&self) -> Option<String> {
        lock(&self.loaded).clone()
    }

    pub(crate) fn violation(&self, what: String) {
        self.trace.note(format_args!("violation: {what}"));
        lock(&self.violations).push(what);
    }

    /// Whether the server is stopped, or was down at this time or later.
    pub(crate) fn disturbed_since(&self, since: Duration) -> bool {
        let times = *lock(&self.times);
        times.stopped.is_some() || times.down.is_some_and(|down| down >= since)
    }
}

// ---------------------------------------------------------------------------------------------
// The seams of the server

/// The time of the server's host.
pub(crate) struct NetClock {
    before: Duration,
    started: Instant,
}

impl NetClock {
    /// To be made on the host whose time it is.
    pub(crate) fn new(before: Duration) -> Self {
        Self {
            before,
            started: Instant::now(),
        }
    }
}

impl Clock for NetClock {
    fn monotonic(&self) -> Duration {
        self.before + self.started.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        EPOCH_MS + u64::try_from(self.monotonic().as_millis()).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Disk threads whose jobs take a while.
pub(crate) struct SlowIo {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Arc<NetClock>,
}

impl Offload for SlowIo {
    fn submit(&self, job: Job) -> BoxFuture<'static, ()> {
        let shared = &self.shared;
        let pause = self.clock.sleep(Duration::from_millis(
            shared.rng.below(shared.plan.disk_ms + 1),
        ));
        drop(tokio::spawn(async move {
            pause.await;
            job();
        }));
        Box::pin(std::future::ready(()))
    }

    fn width(&self) -> usize {
        2
    }
}

/// The catalogue: durable by itself.
#[derive(Default)]
pub(crate) struct Entries(Mutex<BTreeMap<(String, String), Bytes>>);

impl Catalogue for Entries {
    fn entries(&self, kind: &str) -> Vec<(String, Bytes)> {
        let entries = lock(&self.0);
        let of_kind = entries.iter().filter(|((its, _), _)| its == kind);
        of_kind
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect()
    }

    fn put_entry<'a>(
        &'a self,
        kind: &'a str,
        key: &'a str,
        value: Bytes,
    ) -> BoxFuture<'a, Result<(), Error>> {
        lock(&self.0).insert((kind.to_owned(), key.to_owned()), value);
        Box::pin(std::future::ready(Ok(())))
    }

    fn remove_entry<'a>(&'a self, kind: &'a str, key: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        lock(&self.0).remove(&(kind.to_owned(), key.to_owned()));
        Box::pin(std::future::ready(Ok(())))
    }
}

// ---------------------------------------------------------------------------------------------
// Connections

/// A listener that fails now and then.
pub(crate) struct FlakyListener {
    pub(crate) inner: TcpListener,
    pub(crate) shared: Arc<Shared>,
}

impl Listen for FlakyListener {
    type Stream = Watched;

    async fn accept(&self) -> io::Result<Watched> {
        let (shared, fails) = (&self.shared, self.shared.plan.accept_fails);
        let (inner, peer) = self.inner.accept().await?;
        if shared.rng.chance(fails) {
            shared.trace.fired("accept failed");
            let gone = shared.rng.chance(50);
            return Err(if gone {
                io::ErrorKind::ConnectionAborted.into()
            } else {
                io::Error::other("too many open files")
            });
        }
        shared.trace.note(format_args!("{peer} accepted"));
        let open = 1 + shared.open.fetch_add(1, Ordering::Relaxed);
        if open > shared.plan.max_connections {
            shared.violation(format!("{open} connections at a time"));
        }
        let life = Life {
            accepted: shared.now(),
            closed: None,
        };
        lock(&shared.lives).insert(peer, life);
        Ok(Watched {
            inner,
            peer,
            most: usize::try_from(shared.rng.between(1_000, 7_000)).unwrap(),
            shared: shared.clone(),
        })
    }
}

/// A connection whose every read and write is an event, and that takes few bytes at a time.
pub(crate) struct Watched {
    inner: TcpStream,
    peer: SocketAddr,
    most: usize,
    shared: Arc<Shared>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(read) = &read {
            let (peer, bytes) = (self.peer, buffer.filled().len() - before);
            let kind = read.as_ref().err().map(io::Error::kind);
            self.shared
                .trace
                .note(format_args!("{peer} read {bytes} {kind:?}"));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.most.min(bytes.len());
        let written = Pin::new(&mut self.inner).poll_write(context, &bytes[..most]);
        if let Poll::Ready(written) = &written {
            let (peer, written) = (self.peer, written.as_ref().map_err(io::Error::kind));
            self.shared
                .trace
                .note(format_args!("{peer} wrote {written:?}"));
        }
        written
    }

    /// As a socket does, so that HTTP hands over the bytes of answers as they are.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let (shared, peer) = (&self.shared, self.peer);
        if !shared.falling.load(Ordering::Relaxed) {
            shared.trace.note(format_args!("{peer} closed"));
        }
        shared.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(life) = lock(&shared.lives).get_mut(&peer) {
            life.closed = Some(shared.now());
        }
    }
}
