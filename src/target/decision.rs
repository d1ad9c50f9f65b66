//! Tells the monitor the mediator's decision.

use std::io::Write;
use std::os::unix::fs::FileExt;

use ground::denial::Denial;
use ground::server_name::ServerName;
use ground::wire::Link;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use root::foreground::{BLOCK, SEALS};
use root::monitor::Monitor;
use root::unit_properties::Limits;

/// Has root write the decision to the authentication log, and nothing else.
pub fn tell(mut monitor: Monitor, action: &str, code: &str) {
    let _ = monitor.decision.write_all(format!("{action}\n{code}\n").as_bytes());
}

/// Has the server started. `request` is what was parsed and granted.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn have_started(
    monitor: Monitor,
    request: &[u8],
    name: &ServerName,
    limits: Limits,
) -> Result<Link, Denial> {
    match leave_request(&monitor, request, name) {
        Ok(()) => have_attended(monitor, "spawn", name, limits),
        Err(denial) => {
            tell(monitor, "spawn", denial.classify().0);
            Err(denial)
        }
    }
}

fn leave_request(monitor: &Monitor, request: &[u8], name: &ServerName) -> Result<(), Denial> {
    let file = &monitor.request;
    file.write_all_at(&name_to_block(name), 0)
        .and_then(|()| file.write_all_at(request, BLOCK as u64))
        .map_err(|error| Denial::at("writing the request")(to_errno(&error)))?;
    fcntl(file, FcntlArg::F_ADD_SEALS(SEALS)).map(drop).map_err(Denial::at("sealing"))
}

/// The name as it stands in front of a request.
fn name_to_block(name: &ServerName) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block.iter_mut().zip(name.as_str().bytes()).for_each(|(place, byte)| *place = byte);
    block
}

/// Has root record the decision, and keeps the monitor available for the server's unit.
///
/// # Errors
/// [`Denial::LaunchFailed`].
pub fn have_attended(
    mut monitor: Monitor,
    action: &str,
    name: &ServerName,
    limits: Limits,
) -> Result<Link, Denial> {
    let to_text = |limit: Option<String>| limit.unwrap_or_default();
    let memory = to_text(limits.memory.map(|bytes| bytes.to_string()));
    let cpus = to_text(limits.cpus.map(|cpus| cpus.to_string()));
    let order = format!("{action}\nok\n{}\n{memory}\n{cpus}", name.as_str());
    monitor
        .decision
        .write_all(order.as_bytes())
        .map_err(|error| Denial::at("telling the monitor")(to_errno(&error)))?;
    Ok(monitor.link)
}

fn to_errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}
