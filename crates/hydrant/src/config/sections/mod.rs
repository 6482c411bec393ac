//! The sections of a configuration, outermost first: what settings there are, and what they may be.

mod service;

mod delivery_stream;

mod kinesis;

mod processors;

mod destination;

mod objects;

pub(super) use self::delivery_stream::delivery_stream;
pub(super) use self::kinesis::DEAGGREGATIONS;
pub(super) use self::objects::PARQUET_COMPRESSIONS;
pub(super) use self::service::service;
