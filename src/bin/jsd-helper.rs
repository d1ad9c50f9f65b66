//! `jsd-helper`: starts and stops the units of servers for a Hub with SystemdSpawner that is not root.

use std::process::ExitCode;

use ground::{diagnostics, system_calls};
use log::LevelFilter;

fn main() -> ExitCode {
    system_calls::begin();
    diagnostics::start_logging("jsd-helper", LevelFilter::Info);
    let refusal = jsd_helper::carry_out(std::env::args_os().skip(1).collect());
    log::error!("{refusal}");
    ExitCode::from(refusal.exit_status())
}
