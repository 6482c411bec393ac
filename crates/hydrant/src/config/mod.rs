//! The configuration: YAML files in, checked values or all their faults out.
//!
//! A file becomes a tree in which every value knows its line; variables are replaced in it; then
//! each section is read on its own, so that all faults are found at once. Each section's function
//! is also what the JSON Schema is made of. Applying settings is left to the wiring.

mod fault;

mod node;

mod context;

mod substitute;

mod kinds;

mod shapes;

mod fields;

mod secret;

mod sections;

mod memory;

pub mod types;

mod load;

mod version;

mod schema;

mod document;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;

pub use self::context::Environment;
pub use self::document::document;
pub use self::fault::Fault;
pub use self::load::{Checked, ModuleChecker, Places, check, load, load_with};
pub use self::schema::schema;
pub use self::secret::Secret;
pub use self::types::{
    ApiConfig, Auth, BufferingHints, Config, Credentials, Deaggregation, DeliveryStreamConfig,
    DestinationConfig, DirectoryConfig, KinesisConfig, Module, ObjectConfig, OperationsConfig,
    ProcessorConfig, RemoteConfig, S3Config, SourceConfig, Start, StreamConfig, StreamPlace,
    WasmConfig,
};
pub use self::version::canonical;
