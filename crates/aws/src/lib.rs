//! How AWS, and servers that speak its protocols, are reached: region, credentials, one kind of HTTP
//! client, and what an answer that is an error says.
//!
//! Takes checked settings and gives what every client of the AWS SDKs is made of. Which requests are
//! made, and what their errors mean, is left to sources and sinks. The SDKs never try again by
//! themselves: that is `hydrant_core::retry`.

mod connect;

mod progress;

mod refusal;

mod check;

pub use check::{Refused, RefusedKind};
pub use connect::{AwsSettings, Credentials, http_client, sdk_config};
pub use progress::stalled;
pub use refusal::{Refusal, refusal};
