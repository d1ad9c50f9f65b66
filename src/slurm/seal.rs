//! Seals a ticket that has a server's key for its way to the node. Slurm sends a job's script over the network in clear, and
//! munge, by which the machines of a cluster know each other, encrypts a text for one account of theirs.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;

use crate::error::Error;
use crate::programs::{Failure, Programs};
use crate::submission::write_file;

/// How a sealed text begins. No JSON does.
const BEGIN: &str = "MUNGE:";
/// Where munge's programs are looked for, beside Slurm's own.
const USUAL: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// The longest time for one of them.
const LONGEST_CALL: Duration = Duration::from_secs(20);

/// Seals a ticket, so that only this account can read it, on a machine of the cluster.
///
/// # Errors
/// [`Error::NotSealed`].
pub fn seal(programs: &Programs, ticket: &str, uid: Uid) -> Result<String, Error> {
    // It counts for as long as munge lets any: the job may wait for its start.
    let words = [format!("--restrict-uid={uid}"), "--ttl=-1".to_owned()];
    let sealed = run(programs, "munge", &words, ticket).map_err(Error::NotSealed)?;
    let sealed = sealed.trim_end();
    if sealed.starts_with(BEGIN) && !sealed.contains(char::is_control) {
        return Ok(sealed.to_owned());
    }
    Err(Error::NotSealed("munge has printed something else".to_owned()))
}

/// Opens a ticket if it is sealed.
///
/// # Errors
/// A sentence.
pub fn unseal(programs: &Programs, ticket: String) -> Result<String, String> {
    if !ticket.starts_with(BEGIN) {
        return Ok(ticket);
    }
    let words = ["--metadata=/dev/null".to_owned()];
    run(programs, "unmunge", &words, &ticket)
        .map_err(|reason| format!("the ticket on stdin cannot be opened: {reason}"))
}

fn run(programs: &Programs, name: &str, words: &[String], text: &str) -> Result<String, String> {
    let usual = USUAL.iter().map(Path::new).chain([programs.directory()]);
    let mut paths = usual.map(|directory| directory.join(name)).filter(|path| path.exists());
    let path: PathBuf = paths.next().ok_or_else(|| format!("{name} is not installed"))?;
    let input = write_file(text).map_err(|failure| failure.to_string())?;
    let path = path.display().to_string();
    programs.run(&path, words, Some(input.as_fd()), LONGEST_CALL).map_err(|failure| match failure {
        Failure::Silent { seconds, .. } => format!("{path} has not ended within {seconds} s"),
        Failure::Unreachable { said, .. } | Failure::Refused { said } => said,
        other => other.to_string(),
    })
}
