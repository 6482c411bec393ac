//! What every operation shares: requests in JSON 1.1 and CBOR 1.1, their members, and answers.

pub(crate) mod fault;

pub(crate) mod wire;

pub(crate) mod instant;

pub(crate) mod cbor;

pub(crate) mod members;

pub(crate) mod checks;

pub(crate) mod reply;

pub(crate) use checks::Checks;
pub(crate) use fault::Fault;
pub(crate) use members::Members;
pub(crate) use reply::Reply;
pub(crate) use wire::Wire;
