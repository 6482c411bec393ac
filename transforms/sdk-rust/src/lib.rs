//! Writes hydrant transforms in Rust: implement [`Transform`], then say [`export!`].
//!
//! ```ignore
//! use hydrant_transform_sdk::{BatchInfo, Outcome, Record, Transform};
//!
//! struct Upper;
//!
//! impl Transform for Upper {
//!     fn configure(_config: &str) -> Result<Self, String> {
//!         Ok(Self)
//!     }
//!
//!     fn transform(&self, record: Record, _info: &BatchInfo) -> Outcome {
//!         Outcome::changed(record.data.to_ascii_uppercase())
//!     }
//! }
//!
//! hydrant_transform_sdk::export!(Upper);
//! ```
//!
//! A transform runs without files, network, clock and random numbers, and its instance lives for
//! one call: what it answers follows from the configuration and the batch alone. Take `BTreeMap`
//! where strangers choose the keys: the seeds of `HashMap` can be guessed in there.

#[doc(hidden)]
pub mod bindings;

#[cfg(feature = "json")]
pub mod json;

mod log;

pub use crate::bindings::generated::hydrant::transform::types::{BatchInfo, Incoming as Record};
pub use crate::log::{Level, log};

/// A transform: made from its configuration, then asked record by record.
pub trait Transform: Sized {
    /// Reads the configuration: JSON text, `{}` where there is none. Runs before every batch, so
    /// keep it cheap.
    ///
    /// # Errors
    /// With a text for the person who wrote the configuration.
    fn configure(config: &str) -> Result<Self, String>;

    /// Answers for one record.
    fn transform(&self, record: Record, info: &BatchInfo) -> Outcome;
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It stays as it came.
    Unchanged,
    /// It stays as it came, with partition keys or a target.
    Routed(Routing),
    /// One output in its place.
    Changed(Output),
    /// Several outputs in its place, in order.
    Split(Vec<Output>),
    /// No output, on purpose.
    Dropped,
    /// It goes to the error output with this message.
    Failed(String),
}

impl Outcome {
    /// One output in the record's place, without partition keys.
    pub fn changed(data: impl Into<Vec<u8>>) -> Self {
        Self::Changed(Output::new(data))
    }

    /// The record goes to the error output with this message.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

/// Where an output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// Names and values, for prefixes with `!{partitionKeyFromLambda:NAME}`.
    pub partition_keys: Vec<(String, String)>,
    /// The index, table or topic at a destination that has several; at any other a record that
    /// names one fails.
    pub target: Option<String>,
}

impl Routing {
    /// Adds a partition key.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.partition_keys.push((name.into(), value.into()));
        self
    }

    /// Names the index, table or topic.
    #[must_use]
    pub fn to(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }
}

/// One output: its bytes and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The bytes. hydrant adds the delimiter.
    pub data: Vec<u8>,
    /// Where it goes.
    pub routing: Routing,
}

impl Output {
    /// An output without partition keys, to the configured place.
    pub fn new(data: impl Into<Vec<u8>>) -> Self {
        Self {
            data: data.into(),
            routing: Routing::default(),
        }
    }

    /// Adds a partition key.
    #[must_use]
    pub fn key(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.routing = self.routing.key(name, value);
        self
    }

    /// Names the index, table or topic that it goes to.
    #[must_use]
    pub fn to(mut self, target: impl Into<String>) -> Self {
        self.routing = self.routing.to(target);
        self
    }
}

/// Exports a type that implements [`Transform`] as the component's world. Say it once, in the
/// crate's root.
#[macro_export]
macro_rules! export {
    ($transform:ty) => {
        const _: () = {
            ::std::thread_local! {
                static CONFIGURED: ::std::cell::RefCell<::std::option::Option<$transform>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Component;

            impl $crate::bindings::Guest for Component {
                fn configure(
                    config: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::string::String> {
                    $crate::bindings::log_panics();
                    let transform = <$transform as $crate::Transform>::configure(&config)?;
                    CONFIGURED
                        .with_borrow_mut(|slot| *slot = ::std::option::Option::Some(transform));
                    ::std::result::Result::Ok(())
                }

                fn transform(
                    info: $crate::BatchInfo,
                    batch: ::std::vec::Vec<$crate::Record>,
                ) -> ::std::vec::Vec<$crate::bindings::RawOutcome> {
                    CONFIGURED.with_borrow(|slot| {
                        let transform =
                            slot.as_ref().expect("configure is called before transform");
                        $crate::bindings::each(transform, &info, batch)
                    })
                }
            }

    $crate::bindings::export_world!(Component with_types_in $crate::bindings::generated);
        };
    };
}
