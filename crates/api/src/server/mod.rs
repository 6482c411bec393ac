//! The listener: takes connections up to a number, and ends them at shutdown.

mod listen;

mod connection;

mod unsent;

mod answer;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hydrant_core::budget::Account;
use hydrant_core::clock::Clock;
use hydrant_core::rng::Rng;
use hydrant_log::stream::Streams;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use self::answer::Api;
use self::connection::{Calls, Stopping};
use crate::kinesis::Kinesis;
use crate::{Error, Settings};

pub use self::listen::Listen;

/// Longest request head.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Calls that run when the server is told to stop have so long to end.
pub const GRACE: Duration = Duration::from_secs(20);

/// The pause after a failed accept (out of file handles, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens, but does not serve yet.
pub struct Server<L = TcpListener> {
    listener: L,
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
        address,
        ..Server::over(listener, settings)
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

impl<L: Listen> Server<L> {
    /// A server on a listener that is there already; the settings are not checked.
    pub fn over(listener: L, settings: Settings) -> Self {
        Self {
            listener,
            address: settings.listen,
            settings,
        }
    }

    /// The address that it listens on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` completes, then lets running calls end ([`GRACE`] at most).
    /// `account` is where bodies and answers take their bytes from. Dropping the future cuts all
    /// calls off.
    pub async fn serve(
        self,
        streams: Arc<Streams>,
        account: Account,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        shutdown: impl Future<Output = ()>,
    ) {
        let slots = Arc::new(Semaphore::new(self.settings.max_connections));
        let kinesis = Kinesis::new(streams, account, clock.clone(), self.settings.region);
        let api = Arc::new(Api {
            kinesis: Arc::new(kinesis),
            clock: clock.clone(),
            rng,
        });
        let (stopping, calls) = (
            Arc::<Stopping>::default(),
            Arc::<Mutex<JoinSet<()>>>::default(),
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
                    let (api, calls) = (api.clone(), Calls(Arc::downgrade(&calls)));
                    let stopping = stopping.clone();
                    connections.spawn(connection::serve(stream, slot, api, calls, stopping));
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    clock.sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        stopping.tell();
        let ended = async {
            while let Some(ended) = connections.join_next().await {
                note_panic(ended);
            }
        };
        tokio::select! {
            biased;
            () = ended => {}
            () = clock.sleep(GRACE) => tracing::warn!("calls were cut off at shutdown"),
        }
        connections.shutdown().await;
        let mut calls = std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner));
        calls.shutdown().await;
    }
}

async fn accept<L: Listen>(
    listener: &L,
    slots: &Arc<Semaphore>,
) -> io::Result<(L::Stream, OwnedSemaphorePermit)> {
    let slot = slots
        .clone()
        .acquire_owned()
        .await
        .expect("the semaphore is never closed");
    Ok((listener.accept().await?, slot))
}

/// Whether an error of accept is of the one connection, which went before it was taken.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "a connection's task panicked"
        );
    }
}
