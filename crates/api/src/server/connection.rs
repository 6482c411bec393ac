//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::task::JoinSet;

use super::answer::Api;
use super::unsent::{Alarm, Unsent};
use super::{MAX_HEADER_BYTES, note_panic};

/// Streams of one HTTP/2 connection at a time.
const MAX_H2_STREAMS: u32 = 128;

/// A connection that has not sent a whole request head by then is closed.
const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// A connection that sends no further request head for so long is closed.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// Tells connections to end once their calls have. Wakes them in the order they came, so that simulated
/// runs repeat.
#[derive(Default)]
pub(super) struct Stopping {
    told: AtomicBool,
    notify: Notify,
}

impl Stopping {
    /// Tells all connections, those that have not begun too.
    pub(super) fn tell(&self) {
        self.told.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    async fn told(&self) {
        // Before the flag is looked at: what is told in between wakes it.
        let notified = self.notify.notified();
        if !self.told.load(Ordering::Acquire) {
            notified.await;
        }
    }
}

/// Starts the calls of HTTP/2 connections, each a task that the server owns.
#[derive(Clone)]
pub(super) struct Calls(pub(super) Weak<Mutex<JoinSet<()>>>);

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Calls {
    fn execute(&self, call: F) {
        // Without a server there is nobody left to answer.
        let Some(calls) = self.0.upgrade() else {
            return;
        };
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = calls.try_join_next() {
            note_panic(ended);
        }
        calls.spawn(async move {
            call.await;
        });
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    // Given back last, once the stream is closed.
    _slot: OwnedSemaphorePermit,
    api: Arc<Api>,
    calls: Calls,
    stopping: Arc<Stopping>,
) {
    let clock = api.clock.clone();
    let (begun, unsent) = (Arc::new(AtomicBool::new(false)), Arc::<Unsent>::default());
    let service = {
        let (begun, unsent) = (begun.clone(), unsent.clone());
        service_fn(move |request| {
            begun.store(true, Ordering::Relaxed);
            let (api, unsent) = (api.clone(), unsent.clone());
            async move {
                let answer = api.answer(request).await;
                let held = |bytes| unsent.add(bytes, &*api.clock);
                Ok::<_, Infallible>(answer.map(|reply| reply.until_sent(held)))
            }
        })
    };
    let mut builder = auto::Builder::new(calls);
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
    let mut served = pin!(served);
    let (mut told, mut is_told) = (pin!(stopping.told()), false);
    let (mut first, mut alarm) = (Some(clock.sleep(FIRST_REQUEST)), Alarm::default());
    let ended = poll_fn(|context| {
        if !is_told && told.as_mut().poll(context).is_ready() {
            is_told = true;
            served.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(ended) = served.as_mut().poll(context) {
            return Poll::Ready(Ok(ended));
        }
        if let Some(sleep) = &mut first
            && sleep.as_mut().poll(context).is_ready()
        {
            first = None;
            if !begun.load(Ordering::Relaxed) {
                return Poll::Ready(Err("it sent no request"));
            }
        }
        let late = unsent.poll_late(&mut alarm, &*clock, context);
        late.map(|()| Err("it did not take its answer"))
    });
    match ended.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = &*error, "a connection broke"),
        Err(why) => tracing::debug!(why, "a connection was closed"),
    }
}
