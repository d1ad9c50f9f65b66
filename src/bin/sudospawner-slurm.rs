//! `sudospawner-slurm`: submits and watches a server's job, and is the server's supervisor on the node.

use std::process::ExitCode;

use target::supervisor;

fn main() -> ExitCode {
    supervisor::run_if_asked().unwrap_or_else(|| slurm::carry_out(std::env::args_os().skip(1)))
}
