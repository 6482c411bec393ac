//! What can be wrong with the settings of an encoder.

use hydrant_core::Action;

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value is out of its range, or is refused.
    #[error("{0}")]
    Setting(String),
    /// A type cannot be read.
    #[error("type `{text}`, character {at}: {reason}")]
    Type {
        /// The whole text.
        text: String,
        /// The place of the fault, counted in bytes from 1.
        at: usize,
        /// What was expected or refused.
        reason: String,
    },
    /// A column or member of the schema is refused.
    #[error("column `{column}`: {reason}")]
    Column {
        /// The path of the column.
        column: String,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// What the caller does about it: nothing but a change of the configuration helps.
    pub fn action(&self) -> Action {
        Action::Stop
    }
}
