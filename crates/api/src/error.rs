//! Why the API cannot serve at all. What a request gets as an error is a `Fault`.

use std::net::SocketAddr;

use hydrant_core::Action;

/// Why the API cannot listen or serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Everyone who reaches the port could read and write.
    #[error(
        "api.listen is {listen}, which others can reach, but api.auth is none: listen on a loopback address such as 127.0.0.1:4567"
    )]
    OpenToAll {
        /// The configured address.
        listen: SocketAddr,
    },
    /// The address is taken, or not of this machine.
    #[error("the api cannot listen on {listen}")]
    Bind {
        /// The configured address.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        Action::Stop
    }
}
