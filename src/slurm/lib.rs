//! Servers as jobs of Slurm: the program `sudospawner-slurm`.
//!
//! It runs as the target, on the machine of the Hub and on the node, or as the Hub's account, and never as root. No sudo
//! rule permits it: the mediator's child that has become the target executes it, and so does a job. So the program that
//! sudo permits has nothing of Slurm but the wait for what this one reports.
//!
//! ```text
//! mediator ─ submitter ── sbatch ──► slurmctld ──► node ─ supervisor ─ server
//!               └── squeue, scancel                 └── scontrol update Comment=…
//! ```

// What the policy says, and what Slurm's programs print.
pub mod clock;
pub mod error;
pub mod profile;
pub mod programs;
pub mod queue;
pub mod section;
pub mod submission;

// What the program does.
pub mod deeds;
pub mod explanation;
pub mod hub;
pub mod look;
pub mod node;
pub mod port;
pub mod seal;
pub mod submitter;
pub mod ticket;
pub mod undoing;
pub mod word;

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

use ground::diagnostics;
use ground::report::Report;
use ground::system_calls::{adopt_descriptor, close_to_own_account};
use ground::wire::Wire;
use log::LevelFilter;
use nix::unistd::geteuid;
use submission::IN_JOB;
use target::launcher::job::{ACT, SUBMIT};

const HELP: &str = include_str!("help.txt");
const VERSION: &str = concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n");

/// Carries out a command line, without the program's name.
#[must_use]
pub fn carry_out(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    close_to_own_account();
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    let words: Vec<OsString> = words.into_iter().collect();
    let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    if geteuid().is_root() && words != ["--help"] && words != ["--version"] {
        log::error!("this program never runs as root");
        return ExitCode::FAILURE;
    }
    match words.as_slice() {
        ["--help"] => show(HELP),
        ["--version"] => show(VERSION),
        [IN_JOB] => node::run().unwrap_or_else(|sentence| {
            log::error!("{sentence}");
            ExitCode::FAILURE
        }),
        [word, request, reports, delivered] => {
            let adopt = |number: &str| number.parse().ok().and_then(adopt_descriptor);
            let inherited = (adopt(request), adopt(reports), adopt(delivered));
            let (Some(request), Some(reports), Some(delivered)) = inherited else {
                return refuse_words();
            };
            let mut wire = Wire { reports: File::from(reports), delivered, held: None };
            let mut request = File::from(request);
            match *word {
                SUBMIT => submitter::see_through(wire, &mut request),
                ACT => {
                    wire.send(&deeds::act(&mut request).map_or_else(Report::from, Report::Answer));
                }
                _ => return refuse_words(),
            }
            ExitCode::SUCCESS
        }
        _ => refuse_words(),
    }
}

fn refuse_words() -> ExitCode {
    log::error!("people call sudospawner, and it calls this program; see --help");
    ExitCode::FAILURE
}

fn show(text: &str) -> ExitCode {
    ground::wire::write_text(text).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
