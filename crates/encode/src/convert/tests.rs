//! Whole files, written and read back.
