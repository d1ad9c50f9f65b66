"""The mutants of servers in jobs, in the order of their section in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Mutant, mutant

SERVERS = "system/test_slurm_servers.py::test_"
ATTACKS = "system/test_slurm_attacks.py::test_"
UNDOING = "system/test_slurm_undoing.py::test_"
PROGRAM = "system/test_slurm_program.py::test_"
MEANT = ATTACKS + "nothing_is_done_to_a_job_that_is_not_the_one_that_is_meant"

# fmt: off
SLURM_MUTANTS: list[Mutant] = [
    mutant("slurm", "refusal of jobs of others", "src/slurm/deeds.rs",
           "job.uid == self.uid && is_meant(job)", "is_meant(job)", MEANT, only="user"),
    mutant("slurm", "a look at which job of a number it is", "src/slurm/deeds.rs",
           "job.uid == self.uid && is_meant(job)", "job.uid == self.uid", MEANT, only="user"),
    mutant("slurm", "a lowest port", "src/slurm/word.rs",
           "const LOWEST_PORT: u16 = 1024;", "const LOWEST_PORT: u16 = 1;",
           ATTACKS + "a_comment_that_is_no_word_of_a_servers_is_nothing", only="user"),
    mutant("slurm", "the groups of a profile", "src/slurm/hub.rs",
           "    profile.groups.is_empty() || profile.groups.iter().any(is_own)",
           "    profile.groups.is_empty() || profile.groups.iter().any(is_own) || true",
           SERVERS + "a_profile_is_for_the_members_of_its_groups", only="user"),
    mutant("slurm", "the ceilings of a profile", "src/slurm/submitter.rs",
           "        profile.check(spawn.limits)", "        Ok(())",
           SERVERS + "a_request_is_within_its_profile", only="user"),
    mutant("slurm", "an end of a job that has taken too long", "src/slurm/undoing.rs",
           "            signal_job(&self.programs, *job, None, LONGEST_CALL)?;\n",
           "            let _ = (job, signal_job as fn(_, _, _, _) -> _);\n",
           SERVERS + "a_server_that_does_not_listen_in_time_is_cancelled", only="user",
           hangs=True),
    mutant("slurm", "further attempts to end a job that nobody has", "src/slurm/submitter.rs",
           "        undoing.go_on();\n", "        drop(undoing);\n",
           UNDOING + "jobs_that_nobody_has_are_cancelled_when_a_controller_that_was_away_is_back",
           hangs=True),
    mutant("slurm", "a look for what a lost answer has left", "src/slurm/undoing.rs",
           "job.session == Some(session)", "job.session == Some(session) && false",
           UNDOING + "a_job_whose_submission_was_not_answered_"
           "is_cancelled_when_the_controller_is_back", hangs=True),
    mutant("slurm", "refusal of root", "src/slurm/lib.rs",
           "    if geteuid().is_root() && ", "    if false && geteuid().is_root() && ",
           PROGRAM + "the_program_of_jobs_refuses_whoever_calls_it_by_hand"),
    mutant("slurm", "quotes round the program of a script", "src/slurm/submission.rs",
           ".replace('\\'', \"'\\\\''\")", "",
           "lib the_script_has_one_command_and_the_shell_reads_nothing_of_its_ticket"),
    mutant("slurm", "the comment as the last of the columns", "src/slurm/queue.rs",
           "line.splitn(COLUMNS.len().checked_add(1)?, SEPARATOR)", "line.split(SEPARATOR)",
           "lib a_comment_is_all_that_follows_and_forges_no_column"),
]
