//! Gives a job to Slurm, signals it, and cancels it.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use ground::server_name::ServerName;
use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use root::unit_properties::Limits;
use target::request::about_job::JobId;

use crate::profile::Profile;
use crate::programs::{Failure, Programs};

/// The word with which a job executes our program.
pub const IN_JOB: &str = "--in-job";
/// How long before the end of its time a server gets SIGTERM, in seconds.
const NOTICE: u32 = 60;
/// The end of the text that the script's program gets. No line of JSON is like it.
const END: &str = "END OF TICKET";

/// The name that the job of a server has in the queue: `sudospawner`, or `sudospawner-NAME`. The name is escaped, so
/// that it has no comma, which would make it a list of names.
#[must_use]
pub fn name_job(server: &ServerName) -> String {
    match server.escape() {
        name if name.is_empty() => "sudospawner".to_owned(),
        name => format!("sudospawner-{name}"),
    }
}

/// What is submitted.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The job's name.
    pub name: &'a str,
    /// The file that the job's output goes to, with sbatch's `%j`.
    pub output: &'a str,
    /// The options of the profile.
    pub options: Vec<String>,
    /// The program that the job executes with `--in-job`.
    pub binary: &'a Path,
    /// What the program reads: one line.
    pub ticket: &'a str,
}

impl Submission<'_> {
    /// Submits the job. Its environment is empty: `--export=NIL` and lists have 22.05 run the account's login shell on
    /// the node, so all of an empty environment is exported.
    ///
    /// # Errors
    /// Every [`Failure`]. After [`Failure::Silent`] there may be a job.
    pub fn submit(&self, programs: &Programs, limit: Duration) -> Result<JobId, Failure> {
        let fixed = [
            "--parsable".to_owned(),
            "--ntasks=1".to_owned(),
            "--nodes=1".to_owned(),
            "--export=ALL".to_owned(),
            "--propagate=NONE".to_owned(),
            "--no-requeue".to_owned(),
            "--open-mode=append".to_owned(),
            "--chdir=/".to_owned(),
            format!("--signal=B:TERM@{NOTICE}"),
        ];
        // Root's own options may change what comes before them, but neither name nor output.
        let mut words = fixed.to_vec();
        words.extend(self.options.iter().cloned());
        words.extend([format!("--job-name={}", self.name), format!("--output={}", self.output)]);
        let file = write_file(&self.write_script())?;
        let text = programs.run("sbatch", &words, Some(file.as_fd()), limit)?;
        // With several clusters, the cluster's name follows.
        let id = text.trim_end().split(';').next().and_then(JobId::parse);
        id.ok_or_else(|| Failure::Refused {
            said: format!("sbatch printed {text:?} in place of a number"),
        })
    }

    /// The fixed script. The shell reads no word of the ticket.
    fn write_script(&self) -> String {
        let binary = self.binary.display().to_string().replace('\'', "'\\''");
        format!("#!/bin/sh\nexec '{binary}' {IN_JOB} <<'{END}'\n{}\n{END}\n", self.ticket)
    }
}

/// Has Slurm judge whether it would take a job with a profile, and submits nothing.
///
/// # Errors
/// Every [`Failure`].
pub fn try_profile(programs: &Programs, profile: &Profile, limit: Duration) -> Result<(), Failure> {
    let words = ["--test-only".to_owned(), "--export=ALL".to_owned(), "--ntasks=1".to_owned()];
    let mut words = words.to_vec();
    words.extend(profile.list_options(Limits::default()));
    let script = write_file("#!/bin/sh\n")?;
    programs.run("sbatch", &words, Some(script.as_fd()), limit).map(drop)
}

/// A file in memory with this text, to be read from its beginning.
///
/// # Errors
/// [`Failure::Missing`], with what the kernel says.
pub fn write_file(text: &str) -> Result<File, Failure> {
    let failed = |errno| Failure::Missing { program: "sbatch".to_owned(), errno };
    let mut file = File::from(memfd_create("script", MFdFlags::MFD_CLOEXEC).map_err(failed)?);
    let written = file.write_all(text.as_bytes());
    written.and_then(|()| file.seek(SeekFrom::Start(0))).map_err(|_| failed(Errno::ENOSPC))?;
    Ok(file)
}

/// Sends a job's script a signal; with `None`, ends the job, also one that waits: SIGTERM for all of its processes, and
/// SIGKILL after Slurm's KillWait.
///
/// # Errors
/// Every [`Failure`]. A job that has ended is none.
pub fn signal_job(
    programs: &Programs,
    job: JobId,
    signal: Option<i32>,
    limit: Duration,
) -> Result<(), Failure> {
    let signal = signal.map(|number| [format!("--signal={number}"), "--batch".to_owned()]);
    let words: Vec<String> = signal.into_iter().flatten().chain([job.to_string()]).collect();
    match programs.run("scancel", &words, None, limit) {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_of_ended_job() => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Writes a job's comment, from within the job.
///
/// # Errors
/// Every [`Failure`].
pub fn write_comment(
    programs: &Programs,
    job: JobId,
    comment: &str,
    limit: Duration,
) -> Result<(), Failure> {
    let words = ["update".to_owned(), format!("JobId={job}"), format!("Comment={comment}")];
    programs.run("scontrol", &words, None, limit).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_job_is_one_word_and_no_list() {
        for (server, name) in [
            ("", "sudospawner"),
            ("gpu", "sudospawner-gpu"),
            ("a,b %j", "sudospawner-a\\x2cb\\x20\\x25j"),
        ] {
            assert_eq!(name_job(&ServerName::parse(server.to_owned()).unwrap()), name);
        }
    }

    #[test]
    fn the_script_has_one_command_and_the_shell_reads_nothing_of_its_ticket() {
        let ticket = r#"["","{\"env\":{\"A\":\"$(id) `id` $HOME\"}}"]"#;
        let binary = Path::new("/opt/it's/bin/sudospawner");
        let submission = Submission { name: "", output: "", options: Vec::new(), binary, ticket };
        let script = submission.write_script();
        let lines: Vec<&str> = script.lines().collect();
        assert_eq!(
            lines,
            [
                "#!/bin/sh",
                r"exec '/opt/it'\''s/bin/sudospawner' --in-job <<'END OF TICKET'",
                ticket,
                "END OF TICKET"
            ]
        );
    }
}
