//! Why a log did not do what it was asked.

use std::io;
use std::path::PathBuf;

use hydrant_core::Action;

/// Errors of the log. Cloneable, since one failed group answers many appends.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The disk failed a call; nothing was acknowledged.
    #[error("{doing} {} failed", path.display())]
    Io {
        /// What was done: `opening`, `writing`, ...
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::sync::Arc<io::Error>,
    },
    /// Another process holds the directory.
    #[error("another hydrant uses {}; stop it or choose another data_dir", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
    },
    /// Acknowledged data is damaged or missing.
    #[error("{} is damaged at byte {offset} (record {lsn}): {what}; acknowledged data would be lost, so the log is not opened; restore the file, or see what `hydrant log repair` would keep", file.display())]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first record concerned.
        lsn: u64,
        /// What does not hold.
        what: &'static str,
    },
    /// Written by a version that this one does not know.
    #[error("{} has log format {found}, this version reads {known}; use the hydrant that wrote it", file.display())]
    Version {
        /// The segment.
        file: PathBuf,
        /// The format version in its header.
        found: u32,
        /// The version that is read here.
        known: u32,
    },
    /// An entry of the state store that this version does not know.
    #[error(
        "the state store holds a {what} that this version cannot read; use the hydrant that wrote it"
    )]
    Unreadable {
        /// Which part.
        what: &'static str,
    },
    /// The state store: without what it lost, streams and positions are gone.
    #[error("{} is the state store, which a repair cannot bring back: what it lost may be all streams and positions; restore its files", dir.display())]
    NotRepairable {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The disk is nearly full: nothing was appended.
    #[error("the disk is nearly full; free some space or let deliveries catch up")]
    LowSpace,
    /// An append that no segment can hold.
    #[error("an append of {bytes} bytes is over the log's limit of {limit}")]
    TooLarge {
        /// Bytes of the append with its columns.
        bytes: u64,
        /// Most that a segment takes.
        limit: u64,
    },
    /// An earlier write or sync failed, so nothing is acknowledged any more.
    #[error("the log failed earlier and takes nothing until the process is restarted")]
    Failed,
}

impl Error {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        match self {
            Self::LowSpace | Self::Io { .. } => Action::Retry { after: None },
            Self::TooLarge { .. } => Action::Reject,
            Self::Locked { .. }
            | Self::Corrupt { .. }
            | Self::Version { .. }
            | Self::Unreadable { .. }
            | Self::NotRepairable { .. }
            | Self::Failed => Action::Stop,
        }
    }
}
