//! What a range becomes depends on its records and its version alone.
