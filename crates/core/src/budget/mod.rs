//! One pool of bytes for the whole process: taken before bytes are read, given back when they are
//! freed.
//!
//! Accounts of one name (the lanes of a delivery stream) may have a share of their own, which
//! nobody else uses; what is beyond all shares goes to whoever comes first. Waiters are served in
//! turn: those within their share among themselves, all others in one queue. While someone waits,
//! the account that could free the most by sealing its open range is asked to; where none can, one
//! that gets nothing delivered drops what it can make again. One account of each name at a time,
//! which must finish a range whose cut is fixed, may take more than there is: else such ranges could
//! wait for each other for ever.

mod pool;

mod account;

#[cfg(test)]
mod tests;

pub use account::{Account, Permit};
pub use pool::{Budget, Holder};
