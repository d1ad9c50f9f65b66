"""The mutants of a server's files, in the order of their section in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Mutant, mutant

FILES = "system/test_certificates.py::test_"
JOBS = "system/test_slurm_certificates.py::test_"
ALONE = FILES + "the_files_of_a_server_are_its_users_alone_and_gone_with_it"
REPLACED = FILES + "files_are_not_written_where_others_could_replace_them"
GONE = FILES + "the_files_are_gone_however_the_server_ends"
LEFT = FILES + "what_is_killed_with_its_server_leaves_files_that_the_next_start_removes"
MALFORMED = "cli wrong_types_and_values_outside_their_bounds_are_malformed"

SOURCE = "src/target/files.rs"
REQUEST = "src/target/request/files.rs"

# fmt: off
FILES_MUTANTS: list[Mutant] = [
    mutant("5", "a look at the names of files", REQUEST, "if !is_name(name) {", "if false {",
           MALFORMED),
    mutant("5", "a maximum number of files", REQUEST, "if files.len() > MOST {", "if false {",
           MALFORMED),
    mutant("5", "a maximum size of a file", REQUEST, "if text.len() > MAX_BYTES {", "if false {",
           MALFORMED),
    mutant("files", "a difference between remover and leftovers", "src/target/process/stop.rs",
           " && !is_remover(*pid)", "", ALONE, only="user"),
    mutant("files", "the same in a unit", "src/target/launcher/unit.rs",
           "!is_remover(*pid)", "pid.as_raw() > 0", ALONE, only="unit"),
    mutant("files", "an umask of its own", SOURCE,
           "umask(Mode::S_IRWXG | Mode::S_IRWXO);", "umask(Mode::from_bits_truncate(0o777));",
           FILES + "an_umask_without_rights_does_not_keep_a_server_from_its_files", only="user"),
    mutant("files", "a look at who may write above", SOURCE,
           " || stat.st_mode & OTHERS_WRITE != 0", "", REPLACED, only="user"),
    mutant("files", "a look at whose the folder above is", SOURCE,
           "stat.st_uid != proof.target().uid.as_raw() || ", "", REPLACED, only="user"),
    mutant("files", "refusal of links", SOURCE,
           "let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW",
           "let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY", REPLACED, only="user"),
    mutant("files", "a remover", SOURCE,
           "        remover::leave(&folder.path, folder.lock.as_fd())?;\n", "", GONE, only="unit"),
    mutant("files", "its deafness", "src/target/files/remover.rs",
           "let _ = SigSet::all().thread_block();", "", GONE,
           only="user"),
    mutant("files", "removal of what was left", SOURCE,
           "        remove_left_ones(place, &host);\n", "", LEFT, only="user"),
    mutant("files", "respect for locks", SOURCE,
           "if matches!(lock, Some(Ok(_))) &&", "if lock.is_some() &&", LEFT, only="user"),
    mutant("files", "respect for other machines", SOURCE,
           "name.strip_prefix(&begin)", "name.rsplit_once('-').map(|(_, number)| number)",
           "lib what_another_machine_or_nobody_has_made_stays_and_what_is_locked_too"),
    mutant("files", "an end when a file cannot be written", SOURCE,
           "written.map_err(|errno| failed(explain(errno)))?;", "let _ = written;",
           FILES + "on_a_full_disk_there_is_no_server_with_half_a_key", only="user"),
    mutant("files", "a look for a session", SOURCE, "if is_in_session && ", "if ",
           FILES + "files_are_in_the_runtime_directory_where_it_stays_as_long_as_the_server",
           only="user"),
    mutant("files", "a seal", "src/slurm/submitter.rs",
           "        ticket = seal(&programs, &ticket, whom.uid)?;\n", "        let _ = seal;\n",
           JOBS + "without_munge_no_key_is_sent_to_a_node", only="user"),
    mutant("files", "the name of an account in it", "src/slurm/seal.rs",
           'let words = [format!("--restrict-uid={uid}"), "--ttl=-1".to_owned()];',
           'let _ = uid;\n    let words = ["--ttl=-1".to_owned()];',
           JOBS + "a_servers_files_are_written_on_its_node_and_gone_with_its_job", only="user"),
]
# fmt: on

# Tests that `docs/security.md` names for a check that no edit can remove, and why not.
FILES_BEYOND = {
    "a_server_is_reached_by_tls_and_its_key_is_seen_by_nobody":
        "TLS is JupyterHub's part; what is never written has no line that could be taken out",
    "a_server_without_the_hubs_certificate_is_not_believed": "JupyterHub's part",
    "what_a_cell_prints_and_the_token_cross_the_network_in_clear_only_without_certificates":
        "TLS is JupyterHub's part; the seal's line is above",
}  # fmt: skip
