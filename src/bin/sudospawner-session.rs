//! `sudospawner-session`: opens and closes the target's PAM session round a server.

use std::process::ExitCode;

use ground::diagnostics;
use log::LevelFilter;

fn main() -> ExitCode {
    if let Some(sentence) = session::carry_out(std::env::args_os().skip(1)) {
        diagnostics::start_logging("sudospawner-session", LevelFilter::Info);
        log::error!("{sentence}");
    }
    ExitCode::FAILURE
}
