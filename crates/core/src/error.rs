//! What a caller does about an error.

use std::time::Duration;

/// The one question every error of every crate answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again, after the pause if one was named (a `Retry-After`), else after a backoff.
    Retry {
        /// The least time to wait, where the other side named one.
        after: Option<Duration>,
    },
    /// These records cannot be delivered: they go to the error output.
    Reject,
    /// Nothing that waits or tries again can help: configuration, credentials, broken invariant.
    Stop,
}
