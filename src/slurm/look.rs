//! Looks whether a cluster is ready for servers, for `sudospawner check`.

use std::path::Path;
use std::time::{Duration, Instant};

use ground::system_calls::find_beside;
use ground::waiting::wait_for_any;
use nix::unistd::{Gid, Uid};
use root::unit_properties::Limits;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::hub::is_for;
use crate::profile::Profile;
use crate::programs::{Failure, Programs};
use crate::queue::{Which, find_job, list_jobs};
use crate::seal::seal;
use crate::section::Section;
use crate::submission::{Submission, signal_job, try_profile};
use crate::ticket::write_look;
use crate::word::Word;

/// The longest time for one call of Slurm's programs.
const LONGEST_CALL: Duration = Duration::from_secs(15);
/// The pause between two looks at a job.
const INTERVAL: Duration = Duration::from_millis(500);
/// The name of the job that looks at a node.
const NAME: &str = "sudospawner-check";

/// What was found of one profile, or of a node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// The profile's name; empty where there are none.
    pub profile: String,
    /// What is wrong with it, if anything is.
    pub fault: Option<String>,
}

/// Whether the programs are there and the controller answers.
///
/// # Errors
/// Why not.
pub fn ask_controller(section: &Section) -> Result<(), Failure> {
    let nobody = Which::Called(NAME, Uid::current());
    list_jobs(&Programs::find(section), nobody, LONGEST_CALL).map(drop)
}

/// Whether keys of servers can be sealed here for their way to a node.
///
/// # Errors
/// [`Error::NotSealed`].
pub fn try_seal(section: &Section) -> Result<(), Error> {
    seal(&Programs::find(section), "look", Uid::current()).map(drop)
}

/// Has Slurm judge each profile that this process's account may choose, without submitting anything.
#[must_use]
pub fn try_profiles(section: &Section, groups: &[Gid]) -> Vec<Seen> {
    let programs = Programs::find(section);
    let single = [section.find_profile(None).unwrap_or_default()];
    let profiles = if section.profiles.is_empty() { &single[..] } else { &section.profiles };
    let own = profiles.iter().filter(|profile| is_for(profile, groups));
    let judge = |profile: &Profile| Seen {
        profile: profile.name.clone(),
        fault: try_profile(&programs, profile, LONGEST_CALL).err().map(|fault| fault.to_string()),
    };
    own.map(judge).collect()
}

/// Submits a job with a profile that looks for program and server on its node, and waits for it.
#[must_use]
pub fn look_at_node(section: &Section, policy: &str, profile: &Profile, limit: Duration) -> Seen {
    let programs = Programs::find(section);
    let seen = |fault: Option<String>| Seen { profile: profile.name.clone(), fault };
    let beside = find_beside("sudospawner-slurm");
    let submission = Submission {
        name: NAME,
        output: "/dev/null",
        options: profile.list_options(Limits::default()),
        binary: section.binary.as_deref().unwrap_or(Path::new(&beside)),
        ticket: &write_look(policy),
    };
    let job = match submission.submit(&programs, LONGEST_CALL) {
        Ok(job) => job,
        Err(failure) => return seen(Some(failure.to_string())),
    };
    let begun = Instant::now();
    while begun.elapsed() < limit {
        match find_job(&programs, job, LONGEST_CALL) {
            Ok(Some(found)) => match Word::read(&found.comment) {
                Some(Word::Fine) => return seen(None),
                Some(Word::Failed { sentence, .. }) => return seen(Some(sentence)),
                _ if !found.is_alive() && !found.is_completing() => {
                    let node = found.host.unwrap_or_else(|| "a node".to_owned());
                    let binary = submission.binary.display();
                    let fault = format!(
                        "on {node} {binary} did not run (status {}): install it there, or name its place (slurm.binary)",
                        found.end.as_upstream()
                    );
                    return seen(Some(fault));
                }
                _ => {}
            },
            Ok(None) => return seen(Some(Failure::Unknown.to_string())),
            Err(failure) => return seen(Some(failure.to_string())),
        }
        let _ = wait_for_any(&mut [], INTERVAL);
    }
    let _ = signal_job(&programs, job, None, LONGEST_CALL);
    seen(Some(format!("the job that looks has not come to its end within {} s", limit.as_secs())))
}
