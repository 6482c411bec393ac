//! The front door.

use std::process::ExitCode;

fn main() -> ExitCode {
    hydrant::cli::main()
}
