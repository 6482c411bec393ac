//! Why a transform cannot be loaded. Once it is, nothing is an error: records fail, as data.

use hydrant_core::Action;

/// A transform that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The module is not one of ours; says what is wrong with it and what to do.
    #[error("transform module {0}")]
    Module(String),
    /// The module does not accept its configuration; its own words.
    #[error("the transform refuses its configuration: {0}")]
    Config(String),
    /// The sandbox cannot be set up on this machine.
    #[error("the WebAssembly engine cannot be started: {0}")]
    Engine(String),
}

impl Error {
    /// What the caller does about it.
    pub fn action(&self) -> Action {
        Action::Stop
    }
}
