//! `sudospawner-slurm`: submits and watches a server's job, and is the server's supervisor on the node.

use std::process::ExitCode;

use target::{files, supervisor};

fn main() -> ExitCode {
    let asked = supervisor::run_if_asked().or_else(files::remover::run_if_asked);
    asked.unwrap_or_else(|| slurm::carry_out(std::env::args_os().skip(1)))
}
