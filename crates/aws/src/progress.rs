//! Ends a request that makes no progress, long before the limit of the whole request does.
//!
//! Wraps an HTTP client, and so sees every request signed and whole. A body that goes out is handed
//! to the transport in slices, each of which counts as progress; a body that comes in makes progress
//! with each frame. Nothing is copied, and what fits into one slice is passed on as it is.
//!
//! From the last slice until the answer's head only the limit of the whole request applies: the
//! kernel's socket buffer may still be draining to a slow server, which nobody sees from here.

use std::error::Error;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::{
    RuntimeComponents, RuntimeComponentsBuilder,
};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hydrant_core::BoxFuture;
use hydrant_core::clock::Clock;

/// Longest time without progress (reliability design, section 7).
///
/// A socket takes more once a third of its send buffer is free, and that buffer holds no more than
/// the body. So a server that drains an object's part slower than this allows would break the
/// limit of the whole request, too.
const NO_PROGRESS: Duration = Duration::from_secs(15);
/// Most bytes handed to the transport at once. It buffers two of them.
const SLICE_BYTES: usize = 256 << 10;

/// Whether a request was ended because it made no progress.
pub fn stalled(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<NoProgress>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[derive(Debug)]
struct NoProgress;

impl fmt::Display for NoProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no progress for {} s", NO_PROGRESS.as_secs())
    }
}

impl Error for NoProgress {}

#[derive(Clone)]
struct Timer(Arc<dyn Clock>);

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Timer")
    }
}

/// A client whose requests make progress, or end.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    timer: Timer,
}

impl Watched<SharedHttpClient> {
    pub(crate) fn new(inner: SharedHttpClient, clock: Arc<dyn Clock>) -> Self {
        let timer = Timer(clock);
        Self { inner, timer }
    }
}

impl HttpClient for Watched<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(Watched {
            inner: self.inner.http_connector(settings, components),
            timer: self.timer.clone(),
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.inner, components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.inner, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

impl HttpConnector for Watched<SharedHttpConnector> {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let timer = self.timer.clone();
        let upload = Upload::of(&mut request, &timer);
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let answer = match upload {
                None => answer.await?,
                Some(upload) => upload.first_of(answer).await?,
            };
            Ok(incoming(answer, timer))
        })
    }
}

/// The body of a request on its way out.
struct Upload {
    timer: Timer,
    /// When the last slice was taken, milliseconds of the clock; [`Upload::DONE`] after the last.
    moved_ms: AtomicU64,
}

impl Upload {
    const DONE: u64 = u64::MAX;

    /// Hands the request's body out in slices, if it has more than one.
    fn of(request: &mut HttpRequest, timer: &Timer) -> Option<Arc<Self>> {
        let length = request.body().content_length();
        if length.is_some_and(|bytes| bytes <= SLICE_BYTES as u64) {
            return None;
        }
        let upload = Arc::new(Self {
            timer: timer.clone(),
            moved_ms: AtomicU64::new(now_ms(timer)),
        });
        let body = request.body_mut();
        let inner = mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Slices {
            inner,
            rest: Bytes::new(),
            upload: upload.clone(),
        });
        Some(upload)
    }

    fn moved(&self, done: bool) {
        let moved_ms = if done {
            Self::DONE
        } else {
            now_ms(&self.timer)
        };
        self.moved_ms.store(moved_ms, Ordering::Relaxed);
    }

    /// Completes once there was no progress for too long.
    async fn stalled(&self) {
        loop {
            let moved_ms = self.moved_ms.load(Ordering::Relaxed);
            if moved_ms == Self::DONE {
                return pending().await;
            }
            let idle = Duration::from_millis(now_ms(&self.timer).saturating_sub(moved_ms));
            let left = NO_PROGRESS.saturating_sub(idle);
            if left.is_zero() {
                return;
            }
            self.timer.0.sleep(left).await;
        }
    }

    /// The answer, unless the body stalls.
    async fn first_of(&self, answer: HttpConnectorFuture) -> Result<HttpResponse, ConnectorError> {
        let mut answer = std::pin::pin!(answer);
        let mut stalled = std::pin::pin!(self.stalled());
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            ready!(stalled.as_mut().poll(context));
            Poll::Ready(Err(ConnectorError::timeout(NoProgress.into())))
        })
        .await
    }
}

fn now_ms(timer: &Timer) -> u64 {
    u64::try_from(timer.0.monotonic().as_millis()).unwrap_or(u64::MAX - 1)
}

/// A body in slices of its frames.
struct Slices {
    inner: SdkBody,
    /// What is left of the inner body's last frame.
    rest: Bytes,
    upload: Arc<Upload>,
}

impl Body for Slices {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_data() => {
                    this.rest = frame.into_data().unwrap_or_default();
                }
                last => {
                    this.upload.moved(true);
                    return Poll::Ready(last);
                }
            }
        }
        let slice = this.rest.split_to(this.rest.len().min(SLICE_BYTES));
        // The transport does not ask again after the last slice.
        this.upload.moved(this.is_end_stream());
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && Body::is_end_stream(&self.inner)
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (Body::size_hint(&self.inner), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// Watches an answer's body.
fn incoming(mut answer: HttpResponse, timer: Timer) -> HttpResponse {
    let body = answer.body_mut();
    if body.content_length() != Some(0) {
        *body = SdkBody::from_body_1_x(Incoming {
            inner: mem::replace(body, SdkBody::taken()),
            timer,
            wait: Mutex::new(None),
        });
    }
    answer
}

/// A body whose frames come in time, or that ends with an error.
struct Incoming {
    inner: SdkBody,
    timer: Timer,
    /// While a frame is waited for. Never locked: it makes the future `Sync`.
    wait: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let wait = this.wait.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            *wait = None;
            return Poll::Ready(frame);
        }
        let timer = &this.timer;
        let over = wait.get_or_insert_with(|| timer.0.sleep(NO_PROGRESS));
        ready!(over.as_mut().poll(context));
        *wait = None;
        Poll::Ready(Some(Err(NoProgress.into())))
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.inner)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Time that stands still; what is waited for comes at once.
    struct Now(u64);

    impl Clock for Now {
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0)
        }

        fn wall_ms(&self) -> u64 {
            self.0
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    fn poll(body: &mut SdkBody) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(body).poll_frame(&mut context)
    }

    fn request(bytes: usize) -> (HttpRequest, Bytes) {
        let data = Bytes::from(vec![7; bytes]);
        (HttpRequest::new(SdkBody::from(data.clone())), data)
    }

    #[test]
    fn a_body_goes_out_in_slices_of_itself_and_its_length_stays_known() {
        let timer = Timer(Arc::new(Now(5)));
        let bytes = 2 * SLICE_BYTES + 1;
        let (mut request, data) = request(bytes);
        let upload = Upload::of(&mut request, &timer).expect("it has several slices");
        let body = request.body_mut();
        let mut gone = 0;
        for want in [SLICE_BYTES, SLICE_BYTES, 1] {
            assert_eq!(upload.moved_ms.load(Ordering::Relaxed), 5);
            assert_eq!(body.content_length(), Some((bytes - gone) as u64));
            let Poll::Ready(Some(Ok(frame))) = poll(body) else {
                panic!("no frame after {gone} bytes");
            };
            let slice = frame.into_data().expect("a data frame");
            assert_eq!(slice.len(), want);
            assert_eq!(slice.as_ptr(), data[gone..].as_ptr(), "nothing is copied");
            gone += want;
        }
        assert!(Body::is_end_stream(body));
        assert_eq!(upload.moved_ms.load(Ordering::Relaxed), Upload::DONE);
    }

    #[test]
    fn a_body_of_one_slice_is_passed_on_as_it_is() {
        let timer = Timer(Arc::new(Now(5)));
        for bytes in [0, 1, SLICE_BYTES] {
            let (mut request, _) = request(bytes);
            assert!(Upload::of(&mut request, &timer).is_none());
            assert!(request.body().bytes().is_some());
        }
    }

    #[test]
    fn a_stall_is_found_below_other_errors() {
        let error = ConnectorError::timeout(NoProgress.into());
        assert!(stalled(&error));
        assert!(!stalled(&ConnectorError::timeout("no answer".into())));
    }
}
