//! `jupyterhub-roothooks`: a container's entrypoint, which runs hooks as root, gives up root, and becomes the
//! command after `--`.

use std::process::ExitCode;

use ground::diagnostics;
use ground::wire::write_text;
use log::LevelFilter;
use roothooks::carry_out;
use roothooks::failure::Failure;
use roothooks::options::{self, Request};

fn main() -> ExitCode {
    let request = options::parse(std::env::args_os().skip(1), |name| std::env::var_os(name));
    let level = match &request {
        Ok(Request::Start(order)) => order.level,
        _ => LevelFilter::Info,
    };
    diagnostics::start_logging("jupyterhub-roothooks", level);
    let outcome = match request {
        Ok(Request::Help) => return show(options::HELP),
        Ok(Request::Version) => return show(concat!(env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Request::Start(order)) => carry_out(&order),
        Err(failure) => Err(failure),
    };
    outcome.unwrap_or_else(|failure: Failure| {
        log::error!("{failure}");
        ExitCode::from(failure.exit_status())
    })
}

fn show(text: &str) -> ExitCode {
    if write_text(text).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
