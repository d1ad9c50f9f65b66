//! `sudospawner-door`: accepts calls at the socket of systemd's, and executes `sudospawner` for each.

use std::process::ExitCode;

use ground::{diagnostics, system_calls};
use log::LevelFilter;

fn main() -> ExitCode {
    system_calls::begin();
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    system_calls::clear_environment();
    match door::answer_calls(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            log::error!("{sentence}");
            ExitCode::FAILURE
        }
    }
}
