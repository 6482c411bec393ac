//! What every operation shares: JSON 1.1 requests, their members, and answers.

pub(crate) mod fault;

pub(crate) mod members;

pub(crate) mod checks;

pub(crate) mod reply;

pub(crate) use checks::Checks;
pub(crate) use fault::Fault;
pub(crate) use members::Members;
pub(crate) use reply::Reply;
