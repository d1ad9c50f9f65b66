"""The mutants of PAM sessions, in the order of their section in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant, mutant

GIVEN = "system/test_session.py::test_"
ATTACKS = "system/test_session_attacks.py::test_"
ENDS = "system/test_session_ends.py::test_"

ROOT = "src/root/session.rs"
SESSION = "src/session/lib.rs"
CLOSER = "src/session/closer.rs"
WATCHER = "src/session/watcher.rs"
EXECUTE = (
    "    let errno = "
    'system_calls::execute(&system_calls::find_beside("sudospawner"), &argv, &kept);\n'
)
# The same with the variables of PAM's as its environment.
EXECUTE_WITH_VARIABLES = """\
    for one in kept {
        let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty());
        let _ = nix::fcntl::fcntl(one, flags);
    }
    let path = system_calls::find_beside("sudospawner").display().to_string();
    let path = CString::new(path).unwrap_or_default();
    let errno = nix::unistd::execve(&path, &argv, &listed).err().unwrap_or(Errno::EIO);
"""
CLOSED = ENDS + "the_session_is_closed_however_its_server_ends"

# fmt: off
SESSION_MUTANTS: list[Mutant] = [
    mutant("session", "trust in the program that opens it", ROOT,
           "    if let Err(distrust) = check_trusted(&program) {",
           "    if let (Err(distrust), false) = (check_trusted(&program), true) {",
           ATTACKS + "a_program_that_others_could_have_written_opens_no_session",
           only="process"),
    Mutant("session", "memory alone for what modules set", (
               Edit(SESSION, "    let variables = keep(&variables)",
                    "    let listed = variables.clone();\n    let variables = keep(&variables)"),
               Edit(SESSION, EXECUTE, EXECUTE_WITH_VARIABLES),
           ), ATTACKS + "a_variable_that_pam_sets_reaches_no_process_of_roots", only="process"),
    mutant("session", "the policy's rules for what modules set", "src/target/environment.rs",
           "partition(|(name, _)| is_passed(name, rules));",
           'partition(|(name, _)| is_passed(name, rules) || name == "BASH_ENV");',
           ATTACKS + "what_pam_sets_is_removed_as_what_a_request_sets", only="process"),
    mutant("session", "refusal of others than root", SESSION,
           "is_root.then(|| Order::read(words)).flatten();",
           "(geteuid().as_raw() < 99999).then(|| Order::read(words)).flatten();",
           ATTACKS + "whoever_calls_the_program_by_hand_opens_nothing", only="process"),
    mutant("session", "refusal of others than root in a session", ROOT,
           "if name != NAME || !is_roots_own() {",
           "if name != NAME || false && !is_roots_own() {",
           ATTACKS + "nobody_is_in_a_session_by_its_name_alone", only="process"),
    mutant("session", "the account's groups alone", ROOT,
           "policy.admit_target(user, Some(groups))",
           "policy.admit_target(user, Some([groups, vec![Gid::from_raw(42)]].concat()))",
           GIVEN + "a_server_has_what_the_modules_give_and_is_the_target_alone", only="process"),
    mutant("session", "a module that refuses", "src/session/pam.rs",
           "        if status != SUCCESS {", "        if status != SUCCESS && step == Step::Open {",
           ATTACKS + "a_module_that_refuses_is_told_with_its_words", only="process"),
    Mutant("session", "a new keyring", (
               Edit(SESSION, '    system_calls::join_new_session_keyring()'
                    '.map_err(Denial::at("a session keyring"))?;\n', ""),
               Edit("src/ground/system_calls/afresh.rs",
                    "    let _ = join_new_session_keyring();\n",
                    "    let _ = join_new_session_keyring as fn() -> _;\n"),
           ), ATTACKS + "a_key_of_the_callers_is_in_no_session", only="process"),
    mutant("session", "an end of what modules that hang have started", WATCHER,
           "    end_with_descendants(watched);\n",
           "    let _ = end_with_descendants as fn(Pid);\n"
           "    let _ = kill(watched, Signal::SIGKILL);\n",
           ENDS + "modules_that_hang_are_given_up"),
    mutant("session", "a limit of the time for closing", CLOSER,
           "held.wait_for_end(LONGEST)", "held.wait_for_end(LONGEST * 100)",
           ENDS + "modules_that_hang_are_given_up"),
    mutant("session", "closing it", CLOSER,
           "    close_in_time(session);\n",
           "    let _ = (close_in_time as fn(Session), std::mem::forget(session));\n",
           CLOSED, only="process"),
    mutant("session", "closing it for a server that is undone", CLOSER,
           "    close_in_time(session);\n",
           "    let _ = (close_in_time as fn(Session), std::mem::forget(session));\n",
           ENDS + "a_spawn_that_is_undone_has_its_session_closed", only="systemd"),
    mutant("session", "the way back to the unit's control group", SESSION,
           "        unit.restore()", "        Ok::<(), Errno>(drop(unit))",
           GIVEN + "the_limits_of_a_unit_hold_although_logind_has_a_session"),
    mutant("session", "leaving it out without the key", "src/root/policy/file.rs",
           "            pam_service: None,\n",
           '            pam_service: Some("sudospawner".to_owned()),\n',
           GIVEN + "without_the_key_nothing_is_opened", only="process"),
]  # fmt: skip
