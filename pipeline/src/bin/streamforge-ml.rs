//! The program that computes networks: started by `streamforge`, with libtorch in it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    ExitCode::from(pipeline::ml::worker::main(&arguments))
}
