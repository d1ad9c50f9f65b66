//! `sudospawner-setup`: carries out `sudospawner check`, `sudoers` and `policy`.

use std::process::ExitCode;

use ground::{diagnostics, system_calls};
use log::LevelFilter;

fn main() -> ExitCode {
    system_calls::begin();
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    setup::carry_out(std::env::args_os().skip(1))
}
