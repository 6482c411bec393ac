//! The way of every request: waits while the destination is sick and for one of the places that it
//! has, ends within a limit of time that grows with its body, and tells what came of it.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use futures_util::future::{Either, select};
use hydrant_core::BoxFuture;
use hydrant_core::retry::{Call, Outcome};

use super::Inner;
use super::failure::Failure;
use crate::limit::Place;

/// Limit of a request without its body (reliability design, section 7).
const TIMEOUT_BASE: Duration = Duration::from_secs(30);
/// What each started MiB of a body adds.
const TIMEOUT_PER_MIB: Duration = Duration::from_secs(1);

impl Inner {
    /// Waits until the destination may be asked and for a place, counts an attempt, ends it once its
    /// time is over, and notes what it says of the destination.
    pub(super) fn timed<'a, T: Send + 'a, E>(
        &'a self,
        body_bytes: usize,
        send: impl Future<Output = Result<T, SdkError<E>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Failure>>
    where
        E: ProvideErrorMetadata + Error + Send + 'static,
    {
        // Boxed before anything waits: the SDK's futures are large.
        let send = Box::pin(send);
        Box::pin(async move {
            let (call, place) = self.admitted().await;
            self.retry.status().attempt();
            let mib = u32::try_from(body_bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX);
            let limit = TIMEOUT_BASE.saturating_add(TIMEOUT_PER_MIB.saturating_mul(mib));
            let (failure, outcome, overloaded) =
                match select(send, self.retry.clock().sleep(limit)).await {
                    Either::Left((Ok(done), _)) => {
                        call.ended(Outcome::Answered);
                        place.answered();
                        return Ok(done);
                    }
                    Either::Left((Err(error), _)) => {
                        let stalled = hydrant_aws::stalled(&error);
                        let (failure, outcome) = Failure::read(&error);
                        let asked = failure.asks_to_slow_down();
                        (failure, outcome, asked || stalled)
                    }
                    Either::Right(_) => (Failure::timeout(limit), Some(Outcome::Sick), true),
                };
            match outcome {
                Some(outcome) => call.ended(outcome),
                None => drop(call),
            }
            if overloaded {
                place.overloaded();
            }
            Err(failure)
        })
    }

    /// Waits until the destination may be asked, and for a place. While the destination is sick no
    /// place is kept from others.
    async fn admitted(&self) -> (Call, Place) {
        loop {
            let call = self.retry.call().await;
            let place = self.limit.enter().await;
            if call.is_current() {
                return (call, place);
            }
        }
    }
}
