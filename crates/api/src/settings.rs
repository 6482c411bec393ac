//! What can be configured about the API.

use std::net::SocketAddr;

use crate::Error;

/// The account in every ARN: there is one, and nobody else's.
pub const ACCOUNT_ID: &str = "000000000000";

/// Connections at a time, where the settings say nothing else; more wait in the backlog.
pub const MAX_CONNECTIONS: usize = 4096;

/// How requests prove who they are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all: signatures are not looked at. Only on loopback.
    #[default]
    None,
}

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How requests prove who they are from.
    pub auth: Auth,
    /// The region in ARNs; a request that names another one is refused.
    pub region: String,
    /// Connections at a time; more wait until one ends.
    pub max_connections: usize,
}

impl Settings {
    /// Settings with everything but the address at its default.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            auth: Auth::None,
            region: "us-east-1".to_owned(),
            max_connections: MAX_CONNECTIONS,
        }
    }

    /// Checks what belongs together.
    ///
    /// # Errors
    /// [`Error::OpenToAll`] off loopback without authentication.
    pub fn check(&self) -> Result<(), Error> {
        match self.auth {
            Auth::None if !self.listen.ip().is_loopback() => Err(Error::OpenToAll {
                listen: self.listen,
            }),
            Auth::None => Ok(()),
        }
    }
}
