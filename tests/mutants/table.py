"""All mutants, in the order of the checks."""

from __future__ import annotations

from mutants.accounts_table import ACCOUNTS_MUTANTS
from mutants.files_table import FILES_BEYOND, FILES_MUTANTS
from mutants.jsd_table import JSD_MUTANTS
from mutants.mutant import Edit, Mutant, mutant
from mutants.session_table import SESSION_MUTANTS
from mutants.slurm_table import SLURM_MUTANTS
from mutants.socket_table import SOCKET_MUTANTS

ATTACKS = "system/test_attacks.py::test_"
ROOT_MODE = "system/test_root_mode.py::test_"
MEDIATOR = "system/test_mediator.py::test_"
UNITS = "system/test_systemd_launcher.py::test_"
SURVIVAL = "system/test_mediator_survival.py::test_"
HOSTILE = "system/test_hostile_target.py::test_"
HOMES = "system/test_hanging_homes.py::test_"
DENIED = "system/test_deny_groups.py::test_"
INHERITED = "system/test_what_is_inherited.py::test_"
BLANKS = "system/test_blank_names.py::test_"
STARVED = "system/test_starved_look_ups.py::test_"
FORGED = "system/test_forged_reports.py::test_"
AFTER = "system/test_after_hooks.py::test_"
AFTER_ENDS = "system/test_after_hooks_ends.py::test_"
TURNS = "system/test_after_hooks_turns.py::test_"
SECRETS = "system/test_hook_credentials.py::test_"

COMMAND_LINE = ATTACKS + "a_command_line_that_means_anyone_else_is_refused"
NAMES = (
    "system/test_names.py::"
    "test_a_name_that_only_the_account_database_takes_for_somebodys_is_refused"
)
LEFT_OPEN = (
    "system/test_names.py::"
    "test_what_libraries_for_accounts_leave_open_reaches_neither_server_nor_hook"
)
CALLER_WORDS = ATTACKS + "a_caller_in_words_that_sudo_does_not_use_is_refused"
EXECUTABLE = ATTACKS + "an_executable_that_others_could_have_written_is_not_executed"
HOOK_OF_OTHERS = ATTACKS + "a_hook_that_others_could_have_written_is_not_run"
POLICY_OF_OTHERS = ATTACKS + "a_policy_that_others_could_have_written_is_not_read"
HOOKS_IN_ORDER = ROOT_MODE + "hooks_run_in_order_with_nothing_of_the_request"
SERVER_IS_TARGET = ROOT_MODE + "the_server_is_the_target_and_nothing_else"
FLOOD = ROOT_MODE + "a_flood_of_output_is_cut_and_ends_with_the_hook"
WRONG_VALUES = "cli wrong_types_and_values_outside_their_bounds_are_malformed"
REPEATED_KEYS = "cli unknown_and_repeated_keys_are_malformed"

SYSTEM_CALLS = "src/ground/system_calls.rs"
AFRESH = "src/ground/system_calls/afresh.rs"
PROGRAM = "src/ground/program.rs"
RUNNER = "src/root/hooks/runner.rs"
PRIVILEGES = "src/root/privileges.rs"
TRUSTED = "src/root/trusted_file.rs"
ROSTER = "src/ground/roster.rs"

START = "    match start_monitor(&mut call, options) {\n"
READ = "Request::read(std::io::stdin().lock())"
CLOSE_ON_EXEC = "        system_calls::close_descriptors_on_exec();\n"
STDIN = "        dup2_stdin(input.unwrap_or(nothing.as_fd()))?;\n"
# Holds what root has read, if it reads: the answer takes it from there.
KEEP = (
    "/// What root has read.\n"
    "pub static READ: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();\n"
)
LEFT = "    let left = |what: &str| Err(Denial::PrivilegesLeft(what.to_owned()));\n"
UNPROVED = "    if !uid.is_root() {\n        return Ok(Unprivileged { whom });\n    }\n"
PROVE = Edit(PRIVILEGES, LEFT, UNPROVED + LEFT)
CHECK_EACH_DIRECTORY = (
    "Distrust::of_open(&walked, errno))?;\n"
    "            check(&descriptor, &walked, SFlag::S_IFDIR)?;\n        }\n"
)
CHECK_THE_LAST = (
    "Distrust::of_open(&walked, errno))?;\n"
    "        }\n        check(&descriptor, &walked, SFlag::S_IFDIR)?;\n"
)


# A mutant in a few lines is readable; one argument per line is not.
# fmt: off
MUTANTS = [
    # 1. This process.
    Mutant("1", "closing the caller's descriptors", (
               Edit(SYSTEM_CALLS, "    close_inherited_descriptors();\n", ""),
               Edit(SYSTEM_CALLS, "    close_descriptors_on_exec();\n    let mut kept",
                    "    let mut kept"),
               Edit(PROGRAM, CLOSE_ON_EXEC, ""),
               Edit("src/target/server.rs", CLOSE_ON_EXEC, ""),
           ), ATTACKS + "descriptors_of_the_caller_do_not_reach_hook_or_server"),
    mutant("1", "an umask of its own", SYSTEM_CALLS,
           "umask(Mode::S_IWGRP | Mode::S_IWOTH)", "umask(Mode::empty())",
           HOOKS_IN_ORDER),
    Mutant("1", "signals of its own", (
               Edit(SYSTEM_CALLS, "    own_signals();\n", ""),
               Edit(PROGRAM, "        system_calls::reset_signals();\n", ""),
           ), ATTACKS + "a_deleted_working_directory_and_ignored_signals_change_nothing",
           hangs=True),
    mutant("1", "a level of logging that only the command line sets", "src/ground/diagnostics.rs",
           ".filter_level(level)", ".filter_level(level).parse_default_env()",
           "cli the_environment_does_not_choose_what_is_logged",
           reason="the environment is forgotten before anything is logged."),
    # 2. The executables.
    mutant("2", "trust in the own binary", "src/root/policy.rs",
           "check_trusted(&own).map_err(|distrust| "
           "Denial::BinaryUntrusted(distrust.to_string()))?;", "let _ = check_trusted(&own);",
           EXECUTABLE, only="binary_untrusted"),
    mutant("2", "trust in the server's executable", "src/target/server.rs",
           "Err(distrust) if must_be_trusted =>", "Err(distrust) if must_be_trusted && false =>",
           EXECUTABLE, only="server_untrusted"),
    # 3. The caller.
    mutant("3", "admission of callers", "src/root/monitor.rs",
           "        within_limit(|| policy.admit_caller(caller))?;\n",
           "        let _ = within_limit(|| policy.admit_caller(caller));\n",
           ATTACKS + "an_account_that_the_policy_does_not_name_may_not_call"),
    mutant("3", "refusal of a setuid bit", "src/main.rs",
           "if getuid() != geteuid() || getgid() != getegid() {", "if getgid() != getegid() {",
           ATTACKS + "a_mediator_with_a_setuid_bit_does_nothing_for_anyone", only="root:root"),
    mutant("3", "refusal of a setgid bit", "src/main.rs",
           "if getuid() != geteuid() || getgid() != getegid() {", "if getuid() != geteuid() {",
           ATTACKS + "a_mediator_with_a_setuid_bit_does_nothing_for_anyone", only="shadow"),
    mutant("3", "refusal of others than root as the keeper", "src/root/keeper.rs",
           "!= OsStr::new(NAME) || !is_roots_own() {",
           "!= OsStr::new(NAME) || false && !is_roots_own() {",
           ATTACKS + "by_the_name_of_a_process_of_roots_nobody_is_one"),
    mutant("3", "refusal of a malformed SUDO_UID", "src/root/account.rs",
           "word.to_str().and_then(parse_id).map(Uid::from_raw);",
           "word.to_str().and_then(parse_id).map(Uid::from_raw).or(Some(getuid()));",
           CALLER_WORDS, only="SUDO_UID"),
    mutant("3", "refusal of doas and pkexec", "src/root/account.rs",
           "FOREIGN.iter().find(", '["A_B", "C_D"].iter().find(',
           CALLER_WORDS, only="DOAS_USER or PKEXEC_UID"),
    mutant("3", "telling apart who else is made root and left to PID 1", "src/root/foreground.rs",
           "getppid() == Pid::from_raw(1) && is_roots_own()\n", "getppid() == Pid::from_raw(1)\n",
           UNITS + "who_was_made_root_by_another_program_is_no_unit", only="DOAS_USER"),
    # 4. The target.
    mutant("4", "refusal of an account with uid 0", "src/root/policy.rs",
           "if account.uid.is_root() {", "if false && account.uid.is_root() {",
           COMMAND_LINE, only="toor"),
    mutant("4", "the least uid", "src/root/policy.rs",
           "account.uid.as_raw() >= targets.min_uid,", "true,",
           COMMAND_LINE, only="daemon"),
    mutant("4", "denied groups", "src/root/policy.rs",
           "require(account, !groups.contains(&gid), &reason)?;", "let _ = (gid, reason);",
           DENIED + "a_member_of_a_denied_group_has_no_server_and_everyone_else_has", only="root"),
    mutant("4", "denied groups, for jsd-helper", "src/root/policy.rs",
           "require(account, !groups.contains(&gid), &reason)?;", "let _ = (gid, reason);",
           DENIED + "jsd_helper_starts_no_unit_for_a_member_of_a_denied_group"),
    mutant("4", "refusal of everyone where a denied group is not known", "src/root/policy.rs",
           "find_gid(name).ok_or_else(|| refuse(account, &reason))?;",
           "find_gid(name).unwrap_or(Gid::from_raw(u32::MAX));",
           DENIED + "a_denied_group_that_is_not_known_refuses_everyone", only="root"),
    mutant("4", "groups and lists", "src/root/policy.rs",
           "require(&account, is_in, reason)?;", "let _ = (is_in, reason);",
           COMMAND_LINE, only="mal"),
    mutant("4", "refusal of the Hub's own account", "src/root/policy.rs",
           "!self.is_hub_user(account.uid),", "true,",
           COMMAND_LINE, only="rhea"),
    mutant("4", "refusal of shells that let nobody in", "src/root/policy.rs",
           "targets.allow_nologin || !account.is_closed()", "true",
           COMMAND_LINE, only="closed"),
    mutant("4", "refusal of root without --user", "src/main.rs",
           "find_options(&words) else {",
           "find_options(&words).or(Some(RootOptions {\n"
           'user: "", action: None })) else {',
           COMMAND_LINE, only="target_is_root"),
    mutant("4", "comparing --user with whom sudo chose", "src/target/user_mode.rs",
           "Some(name) if name != account.name", "Some(name) if false && name != account.name",
           "cli another_user_than_the_one_that_sudo_chose_is_refused"),
    mutant("4", "exact names", "src/root/account.rs",
           ".filter(|account| account.name == name)", "", NAMES, only="ZOE"),
    mutant("4", "refusal of what is no name", "src/root/account.rs",
           "if is_name(name) {", "if is_name(name) || true {", NAMES, only="1000"),
    # 5. The request.
    mutant("5", "the limit of its size", "src/target/request/input.rs",
           "if bytes.len() > MAX_BYTES {", "if false && bytes.len() > MAX_BYTES {",
           "cli a_request_of_more_than_four_mebibytes_is_refused"),
    mutant("5", "refusal of unknown keys", "src/target/request.rs",
           "        fields.finish()?;\n        Ok(request)",
           "        let _ = fields.finish();\n        Ok(request)", REPEATED_KEYS),
    mutant("5", "refusal of repeated keys", "src/target/json.rs",
           "if object.contains_key(&key) {", "if false && object.contains_key(&key) {",
           REPEATED_KEYS),
    mutant("5", "refusal of NUL", "src/target/json.rs",
           r"if text.contains('\0') {", r"if false && text.contains('\0') {",
           "cli what_no_variable_and_no_argument_can_hold_is_malformed",
           reason="arguments and variables are refused a second time where they become C strings."),
    mutant("5", "refusal of names of variables with =", "src/target/request.rs",
           "name.is_empty() || name.contains('=')", "name.is_empty()",
           "corpus every_request_of_the_corpus_is_refused_or_within_its_bounds"),
    mutant("5", "bounds of the pid", "src/target/request.rs",
           "json::read_integer(1..=i64::from(i32::MAX))",
           "json::read_integer(i64::from(i32::MIN)..=i64::from(i32::MAX))", WRONG_VALUES),
    mutant("5", "bounds of seconds", "src/target/json.rs",
           "if bounds.contains(&number) {", "if !number.is_nan() {", WRONG_VALUES),
    mutant("5", "refusal of control characters in a server's name", "src/ground/server_name.rs",
           " && !text.chars().any(char::is_control)", "", WRONG_VALUES),
    mutant("5", "the length of a server's name", "src/ground/server_name/escaping.rs",
           "name.escape().len() > MAX_ESCAPED_NAME", "name.escape().len() > 4096",
           "cli a_server_name_that_fits_no_file_name_is_too_long"),
    mutant("5", "refusal of limits that nobody enforces", "src/target/grant.rs",
           "limit.map_or(Ok(()), ", "limit.filter(|_| false).map_or(Ok(()), ",
           ROOT_MODE + "a_limit_that_this_launcher_cannot_enforce_refuses_the_spawn"),
    Mutant("5", "reading the request without root", (
               Edit("src/main.rs", START,
                    f"    let _ = ::target::request::{READ}\n"
                    "        .map(|read| ::target::answer::READ.set(read));\n"
                    + START),
               Edit("src/target/answer.rs", "/// What is known of a call.\n",
                    KEEP + "/// What is known of a call.\n"),
               Edit("src/target/answer.rs", READ + "?", "READ.get().cloned().unwrap_or_default()"),
           ), ATTACKS + "of_a_request_root_reads_no_byte"),
    mutant("5", "the ceilings of what is asked for", "src/target/grant.rs",
           "Some(Bytes(most))) if asked > most", "Some(Bytes(most))) if false && asked > most",
           UNITS + "a_request_for_more_than_the_policy_gives_is_refused", only="limits0"),
    # 6. Hooks, and what they share with the policy.
    mutant("6", "the owner of a file", TRUSTED, "if stat.st_uid != 0 {",
           "if false && stat.st_uid != 0 {", ATTACKS + "a_hook_owned_by_the_target_is_not_run"),
    mutant("6", "the group's right to write", TRUSTED, "stat.st_mode & 0o022 != 0",
           "stat.st_mode & 0o002 != 0", HOOK_OF_OTHERS, only="g+w"),
    mutant("6", "the others' right to write", TRUSTED, "stat.st_mode & 0o022 != 0",
           "stat.st_mode & 0o020 != 0", HOOK_OF_OTHERS, only="o+w"),
    mutant("6", "refusal of links to files", TRUSTED,
           "let flags = how | OFlag::O_NOFOLLOW | ", "let flags = how | ", HOOK_OF_OTHERS),
    mutant("6", "refusal of links to directories", TRUSTED,
           "let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | ", "let flags = OFlag::O_PATH | ",
           HOOK_OF_OTHERS),
    mutant("6", "the directories above", TRUSTED, CHECK_EACH_DIRECTORY, CHECK_THE_LAST,
           POLICY_OF_OTHERS),
    mutant("6", "refusal of what is no regular file", TRUSTED,
           "if kind != wanted {", "if false && kind != wanted {",
           POLICY_OF_OTHERS),
    Mutant("6", "an environment of their own", (
               Edit("src/root/hooks.rs",
                    "    .map(String::into_bytes)\n    .to_vec()\n",
                    "    .into_iter()\n"
                    '    .chain(std::env::vars().map(|(name, value)| format!("{name}={value}")))\n'
                    "    .map(String::into_bytes)\n    .collect()\n"),
               Edit("src/main.rs", "    system_calls::clear_environment();\n", ""),
           ), HOOKS_IN_ORDER),
    Mutant("6", "/dev/null as stdin", (
               Edit(PROGRAM, STDIN, "        let _ = (input, nothing);\n"),
               Edit("src/ground/wire.rs", "dup2_stdin(&null).and_then(|()| dup2_stdout(&null))",
                    "dup2_stdout(&null)"),
           ), HOOKS_IN_ORDER),
    mutant("6", "root's own ids", "src/root/monitor.rs", "        become_wholly_root()",
           "        Ok::<(), Errno>(())",
           ATTACKS + "a_hook_is_root_in_every_respect"),
    mutant("6", "limits of a fresh process", AFRESH,
           "        let _ = set_limit(resource, soft, hard);\n",
           "        let _ = (resource, soft, hard);\n",
           ATTACKS + "limits_of_the_caller_do_not_stop_a_hook_in_the_middle"),
    mutant("6", "a limit that is not among the usual ones", AFRESH,
           "    (Resource::RLIMIT_SIGPENDING, RLIM_INFINITY, RLIM_INFINITY),\n",
           "    (Resource::RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY),\n",
           INHERITED + "no_limit_of_the_caller_reaches_a_hook", only="root-SIGPENDING"),
    mutant("6", "scheduling of a fresh process", AFRESH,
           "    reset_scheduling();\n", "    let _ = reset_scheduling as fn();\n",
           INHERITED + "no_priority_of_the_caller_reaches_a_hook"),
    mutant("6", "the CPUs of a fresh process", AFRESH,
           "    let _ = sched_setaffinity(Pid::from_raw(0), &cpus);\n",
           "    let _ = (sched_setaffinity as fn(Pid, &CpuSet) -> _, &cpus);\n",
           INHERITED + "no_priority_of_the_caller_reaches_a_hook"),
    mutant("6", "the caller's limits for the server", "src/root/monitor.rs",
           ".try_for_each(|(resource, soft, hard)| set_limit(*resource, *soft, *hard))",
           ".try_for_each(|_| Ok(()))",
           INHERITED + "limits_of_the_caller_are_the_servers_and_not_the_monitors"),
    mutant("6", "an end of what a hook that failed has started", RUNNER,
           "if status != HookStatus::Ok {", "if false && status != HookStatus::Ok {",
           ROOT_MODE + "what_a_hook_that_failed_has_started_is_ended"),
    Mutant("6", "an end of what a hook that overran has started", (
               Edit(RUNNER, "                end_session(hook, GRACE);\n",
                    "                let _ = end_session as fn(_, _);\n"),
               Edit(RUNNER, "if status != HookStatus::Ok {", "if status == HookStatus::Failed {"),
           ), ROOT_MODE + "a_hook_that_hangs_is_ended_with_all_that_it_started"),
    mutant("6", "SIGTERM for all of a hook that overran", "src/ground/ending.rs",
           "    let _ = killpg(leader, Signal::SIGTERM);\n",
           "    let _ = (killpg as fn(_, Signal) -> _, kill(leader, Signal::SIGTERM));\n",
           ROOT_MODE + "a_hook_that_takes_too_long_can_clean_up_in_its_trap"),
    Mutant("6", "a process above each hook that receives its orphans", (
               Edit(RUNNER, ".and_then(|_| prctl::set_child_subreaper(true))", ".map(drop)"),
               Edit("src/ground/wire.rs", "        prctl::set_child_subreaper(true)",
                    "        Ok::<(), nix::errno::Errno>(())"),
           ), ROOT_MODE + "a_hook_that_hangs_is_ended_with_all_that_it_started"),
    mutant("6", "a limit of the output that is kept", "src/ground/output.rs",
           "self.bytes.len().saturating_sub(self.most)",
           "self.bytes.len().saturating_sub(2 * self.most)", FLOOD),
    mutant("6", "escaping their output", RUNNER,
           "escape_control_characters(&output.bytes, Lines::Many)",
           "String::from_utf8_lossy(&output.bytes).into_owned()", FLOOD),
    mutant("6", "counting a refused hook as one that failed", "src/root/hooks.rs",
           "let success = if result.status == HookStatus::Ok {",
           "let success = if matches!(result.status, HookStatus::Ok | HookStatus::Refused) {",
           HOOK_OF_OTHERS),
    mutant("6", "a mount namespace of their own", "src/root/hooks.rs",
           "if settings.private_mounts && ", "if false && settings.private_mounts && ",
           ROOT_MODE + "what_a_hook_mounts_the_server_sees_and_nobody_else"),
    mutant("6", "a keeper of what hooks leave", "src/root/monitor.rs",
           "leaves_something = has_children();", "leaves_something = has_children() && false;",
           ROOT_MODE + "a_daemon_of_a_hook_lives_as_long_as_the_server"),
    mutant("6", "leaving no process of root's where no hook left one", "src/root/monitor.rs",
           "leaves_something = has_children();", "leaves_something = has_children() || true;",
           ROOT_MODE + "no_process_of_root_stays_where_no_hook_left_one"),
    mutant("6", "the group's right to write, of a hook after a server", TRUSTED,
           "stat.st_mode & 0o022 != 0", "stat.st_mode & 0o002 != 0",
           AFTER + "a_hook_after_that_others_could_have_written_is_not_run", only="509"),
    mutant("6", "lists of servers that only root can enter", TRUSTED,
           ".mode(0o700)", ".mode(0o755)",
           TURNS + "lists_and_their_folders_are_roots_alone"),
    mutant("6", "telling apart who has hooks run after a server", "src/root/foreground.rs",
           "words.next()? != AFTER || !is_unit()", "words.next()? != AFTER",
           AFTER + "nobody_but_systemd_has_hooks_run_after_a_server"),
    mutant("6", "a name that systemd does not expand after a server", "src/root/service_manager.rs",
           'format!(":+{}"', 'format!("+{}"',
           AFTER + "everything_that_a_hook_is_told_is_known_from_the_start", only="unit"),
    mutant("6", "a wait for the account's turn", "src/root/hooks/after.rs",
           "let longest = LONGEST_TURN.saturating_add(timeout);", "let longest = timeout;",
           TURNS + "while_hooks_of_an_account_run_those_of_its_other_servers_wait", only="root"),
    mutant("6", "counting other servers", ROSTER, "count = count.saturating_add(1);", "",
           TURNS + "servers_that_start_and_end_at_random_are_never_without_it", only="root"),
    mutant("6", "a lock of the supervisor's", "src/target/launcher/process.rs",
           ".chain(wire.held.iter().map(AsFd::as_fd))", "",
           TURNS + "a_server_whose_keeper_was_killed_still_counts"),
    mutant("6", "a keeper for hooks after a server", "src/root/monitor.rs",
           "if leaves_something || !self.followed.is_empty() {", "if leaves_something {",
           AFTER_ENDS + "hooks_after_a_server_run_however_it_ended", only="root-kill_server"),
    mutant("6", "writing down what failed after a server", "src/root/hooks/after.rs",
           'let _ = syslog::write_line("sudospawner", Severity::Warning, &line);',
           "let _ = (line, Severity::Warning, syslog::write_to_stderr as fn(_));",
           AFTER + "what_ran_after_a_server_is_in_roots_log", only="root"),
    mutant("6", "refusal of secrets that others can read", "src/root/hooks/credentials.rs",
           "if stat.st_mode & 0o077 != 0 {", "if false && stat.st_mode & 0o077 != 0 {",
           SECRETS + "where_others_could_read_or_write_a_secret_no_hook_is_run", only="root"),
    mutant("6", "a copy of secrets that is its owner's alone", SYSTEM_CALLS,
           "Permissions::from_mode(0o600)", "Permissions::from_mode(0o644)",
           SECRETS + "hooks_before_and_after_get_the_secret_of_their_account", only="root"),
    # 7. Privileges.
    mutant("7", "the target's groups", "src/root/policy.rs",
           "Ok(Target { account, groups })", "Ok(Target { groups: vec![account.gid], account })",
           ROOT_MODE + "a_target_in_a_hundred_groups_has_them_all"),
    Mutant("7", "giving up root's groups", (
               Edit(PRIVILEGES, '    setgroups(groups).map_err(failed("setgroups"))?;\n', ""),
               Edit(PRIVILEGES, "        Some(foreign) => {",
                    "        Some(foreign) if foreign.as_raw() == u32::MAX => {"),
               Edit(PRIVILEGES, "        None => Ok(()),\n    }\n}\n",
                    "        _ => Ok(()),\n    }\n}\n"),
           ), SERVER_IS_TARGET),
    mutant("7", "the proof that root's groups are gone", PRIVILEGES,
           "    check_groups(gid, groups)\n}\n", "    Ok(())\n}\n", SERVER_IS_TARGET,
           reason="setgroups(2) does what it says: this looks for a kernel that does not."),
    mutant("7", "a look at the groups that sudo has left", "src/target/user_mode.rs",
           "|account, groups| check_groups(account.gid, groups)", "|_, _| Ok(())",
           INHERITED + "groups_that_sudo_leaves_to_the_target_are_refused"),
    mutant("7", "giving up root's gid", PRIVILEGES,
           '    setresgid(gid, gid, gid).map_err(failed("setresgid"))?;\n', "",
           SERVER_IS_TARGET),
    Mutant("7", "giving up root's saved uid, and proving it", (
               Edit(PRIVILEGES,
                    'setresuid(uid, uid, uid).map_err(failed("setresuid"))?;',
                    'nix::unistd::seteuid(uid).map_err(failed("setresuid"))?;'),
               PROVE,
           ), SERVER_IS_TARGET),
    Mutant("7", "the proof that root is gone", (PROVE,), SERVER_IS_TARGET,
           reason="it looks for a step before it that did not work; that one is taken out above."),
    mutant("7", "emptying the sets of capabilities", PRIVILEGES,
           '    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;\n'
           '    system_calls::drop_capabilities().map_err(failed("dropping capabilities"))?;\n',
           '    setresuid(uid, uid, uid).map_err(failed("setresuid"))?;\n',
           ATTACKS + "capabilities_that_the_caller_passes_on_do_not_reach_the_server"),
    mutant("7", "emptying the bounding set", PRIVILEGES,
           "    if policy.server.no_new_privileges {\n        system_calls::empty",
           "    if false && policy.server.no_new_privileges {\n        system_calls::empty",
           ROOT_MODE + "no_new_privileges_empties_the_bounding_set"),
    mutant("7", "no_new_privs", PRIVILEGES,
           '        prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;\n', "",
           ROOT_MODE + "no_new_privileges_empties_the_bounding_set"),
    mutant("7", "giving up root before a refusal", PRIVILEGES,
           "    change_ids(Uid::from_raw(NOBODY), Gid::from_raw(NOBODY), &[])?;\n",
           "    let _ = NOBODY;\n    if getuid().is_root() {\n"
           "        return Ok(Unprivileged { whom: () });\n    }\n",
           ATTACKS + "a_call_without_a_target_is_answered_by_nobody", only="mal"),
    mutant("7", "a session keyring of its own, in root mode", PRIVILEGES,
           "    leave_keyring_of_caller()?;\n    keep_keyring_and_become(",
           "    keep_keyring_and_become(",
           INHERITED + "a_key_of_the_callers_session_is_out_of_the_servers_reach", only="root"),
    mutant("7", "a session keyring of its own, in user mode", "src/target/user_mode.rs",
           "    leave_keyring_of_caller()?;\n", "",
           INHERITED + "a_key_of_the_callers_session_is_out_of_the_servers_reach", only="user"),
    mutant("7", "the limits of the policy", PRIVILEGES,
           "    set_limits(&policy.limits)?;\n", "",
           ROOT_MODE + "rlimits_log_file_umask_and_environment_are_as_the_policy_says"),
    # 8. Signals.
    mutant("8", "telling a server from an earlier one with the same pid in its unit",
           "src/target/launcher/unit.rs",
           "is_last && (self.main_pid == 0 || process.is_some())",
           "is_last && (self.main_pid == 0 || process.is_some() || true)",
           UNITS + "a_recycled_pid_is_another_server_also_in_the_same_unit"),
    mutant("8", "leaving foreign units alone", "src/root/service_manager.rs",
           "shown.contains(\"Transient=yes\\n\") && shown", "true || shown",
           UNITS + "a_foreign_unit_of_the_name_is_never_touched"),
    mutant("8", "comparing the moment of the start", "src/target/process.rs",
           "if identity.started.is_some() &&", "if false && identity.started.is_some() &&",
           MEDIATOR + "a_recycled_pid_is_never_signalled"),
    mutant("8", "comparing the moment of the start, of a pid that has been given anew",
           "src/target/process.rs",
           "if identity.started.is_some() &&", "if false && identity.started.is_some() &&",
           MEDIATOR + "what_has_a_servers_pid_after_it_is_left_alone"),
    Mutant("8", "becoming the target before a signal", (
               Edit(PRIVILEGES,
                    "    take_ids(account.uid, account.gid, target.groups())?;\n", ""),
               PROVE,
           ), ROOT_MODE + "kill_status_and_stop_act_as_the_target"),
    # 9. Secrets.
    mutant("9", "silence on values in error sentences", "src/target/request.rs",
           '"the field \\"action\\" has to be spawn, kill, stop or status".to_owned(),',
           'format!("{action} is none of spawn, kill, stop and status"),',
           "cli a_value_that_may_be_a_token_is_never_repeated_in_a_sentence"),
    # 10. Options.
    mutant("10", "refusal of options that write files", "src/target/cli.rs",
           "return Err(Error::OptionRefused(name));", "let _ = Error::OptionRefused(name.clone());",
           "cli options_that_are_unknown_or_write_files_are_refused_before_the_request_is_read"),
    mutant("10", "refusal of repeated options", "src/target/cli.rs",
           "if seen.contains(&name) {", "if false && seen.contains(&name) {",
           COMMAND_LINE, only="usage"),
    mutant("10", "becoming who called, for a subcommand", "src/root/subcommand.rs",
           "        become_account(&account).map_err(|denial| denial.to_string())?;\n", "",
           ATTACKS + "subcommands_called_through_sudo_do_nothing_as_root", only="mal"),
    mutant("10", "trust in the program of subcommands", "src/root/subcommand.rs",
           "check_trusted(&program).map_err(|distrust| distrust.to_string())?;",
           "let _ = check_trusted(&program);",
           ATTACKS + "root_executes_no_program_of_subcommands_that_others_could_have_written"),
    mutant("10", "another's file handled as that other one", "src/setup/check/remedy.rs",
           ".filter(|uid| *uid != 0)", ".filter(|_| false)",
           "lib root_touches_no_file_that_is_in_somebody_elses_place"),
    # 11. The audit line.
    mutant("11", "root's line in the authentication log", "src/root/monitor.rs",
           'audit::write_record("sudospawner", &record)', "Ok::<(), String>(drop(record))",
           ROOT_MODE + "the_decision_is_written_by_root"),
    mutant("11", "root's line where there is no syslog", "src/root/monitor.rs",
           "            syslog::write_to_stderr(&line);", "            let _ = line;",
           ROOT_MODE + "where_there_is_no_syslog_the_decision_is_on_stderr"),
    mutant("11", "the line of user mode", "src/target/answer.rs",
           'audit::write_record("sudospawner", &Record {',
           "(|_: &Record<'_>| Ok::<(), String>(()))(&Record {",
           MEDIATOR + "the_decision_is_one_line_for_the_authentication_log"),
    # 12. Text.
    mutant("12", "escaping control characters", "src/ground/escape.rs",
           "other => !other.is_control(),", "_ => true,",
           "properties escaped_text_has_no_character_that_acts"),
    mutant("12", "escaping what turns the direction of writing", "src/ground/escape.rs",
           r"'\u{202a}'..='\u{202e}' | ", "", "lib bytes_that_are_not_text_and_marks"),
    # The systemd launcher.
    mutant("units", "who may be the first process of a unit", "src/root/foreground.rs",
           "(is_unit() && last == FOREGROUND)", "(geteuid().is_root() && last == FOREGROUND)",
           UNITS + "the_hub_cannot_be_the_first_process_of_a_unit"),
    mutant("units", "limits that hold", "src/target/foreground.rs",
           "find(|limit| !limit.holds_here())", "find(|_| false)",
           "system/test_limits.py::test_a_limit_that_the_kernel_does_not_hold_refuses_the_server",
           only="v2 and memory"),
    mutant("units", "one start alone", "src/root/unit_properties.rs",
           '        ("StartLimitBurst", fixed("1")),\n', "",
           UNITS + "a_unit_that_is_restarted_by_hand_ends_and_starts_nothing"),
    mutant("units", "a request that root made and sealed", "src/root/foreground.rs",
           "seals.is_ok_and(|seals| seals.contains(SEALS))", "(seals.is_ok() || true)",
           UNITS + "what_is_not_the_monitors_is_neither_request_nor_pipe", only="root"),
    mutant("units", "a pipe that root made", "src/root/foreground.rs",
           "        && is_of_root(stdout.as_fd(), SFlag::S_IFIFO)\n", "",
           UNITS + "what_is_not_the_monitors_is_neither_request_nor_pipe", only="sealed"),
    mutant("units", "doubling backslashes that systemd undoes", "src/ground/placeholders.rs",
           "name.replace('\\\\', \"\\\\\\\\\")", "name.to_owned()",
           UNITS + "a_servers_name_is_one_part_of_a_path_in_roots_own_commands"),
    mutant("units", "refusal of a unit that is another's", "src/target/grant.rs",
           "Some(unit) if unit != own.as_str() => {",
           "Some(unit) if unit != own.as_str() && unit.is_empty() => {",
           UNITS + "only_the_unit_of_this_target_and_server_may_be_named"),
    mutant("units", "escaping of names", "src/ground/server_name/escaping.rs",
           '        byte => format!("\\\\x{byte:02x}"),',
           "        byte => char::from(byte).to_string(),",
           UNITS + "hostile_names_are_units_of_their_own"),
    *FILES_MUTANTS,
    *JSD_MUTANTS,
    *ACCOUNTS_MUTANTS,
    *SESSION_MUTANTS,
    *SLURM_MUTANTS,
    *SOCKET_MUTANTS,
    # Checks without a number.
    mutant("policy", "the limit of its size", "src/root/policy/reading.rs",
           "if text.len() as u64 > MAX_BYTES {", "if false && text.len() as u64 > MAX_BYTES {",
           POLICY_OF_OTHERS),
    mutant("policy", "refusal of one that is not understood", "src/root/policy/reading.rs",
           "Self::parse(&text).map(Some).map_err(malformed)",
           "Ok(Some(Self::parse(&text).unwrap_or_default()))",
           ROOT_MODE + "what_is_wrong_in_any_part_of_the_policy_refuses_the_call"),
    mutant("policy", "refusal of min_uid = 0", "src/root/policy/reading.rs",
           "if policy.targets.min_uid == 0 {", "if false && policy.targets.min_uid == 0 {",
           "corpus every_policy_of_the_corpus_is_refused_or_can_be_carried_out"),
    mutant("policy", "refusal of root mode where there is none", "src/root/policy.rs",
           "Self::load()?.ok_or(Denial::PolicyMissing)", "Ok(Self::load()?.unwrap_or_default())",
           ROOT_MODE + "without_a_policy_root_mode_refuses"),
    mutant("all or nothing", "ending a server whose spawn was not delivered",
           "src/target/supervisor.rs",
           "mediator.delivered = None;\n            self.ending = Some(Ending::begin(GRACE));",
           "mediator.delivered = None;",
           SURVIVAL + "a_mediator_that_is_killed_takes_its_undelivered_server_along", hangs=True),
    mutant("all or nothing", "asking whether the mediator is there still", "src/root/monitor.rs",
           "if self.wire.is_abandoned() {",
           "if self.wire.is_abandoned() && false {",
           ROOT_MODE + "a_mediator_that_is_killed_during_a_hook_leaves_nothing",
           reason="the supervisor ends the server again; asking only saves its start."),
    # Attacks by a target on the processes that act for it.
    mutant("hostile", "an eye on the caller", "src/target/decision.rs",
           "[_, true] => return Err(Denial::CallerGone.into()),",
           "[_, true] if false => return Err(Denial::CallerGone.into()),",
           HOSTILE + "a_target_that_stops_what_acts_for_it_keeps_nothing_of_a_call",
           only="systemd", hangs=True),
    mutant("hostile", "blocking what stops a call through sudo", "src/main.rs",
           "    let _ = SigSet::from(Signal::SIGTSTP).thread_block();\n",
           "    let _ = SigSet::from(Signal::SIGTSTP);\n",
           HOSTILE + "a_caller_that_has_sudo_stop_the_call_keeps_no_process_of_roots",
           only="process", hangs=True),
    mutant("hostile", "an end of what acts for a target", "src/root/monitor/agent.rs",
           "        let _ = kill(agent, Signal::SIGKILL);\n",
           "        let _ = (agent, kill as fn(_, Signal) -> _);\n",
           HOSTILE + "a_target_that_stops_what_acts_for_it_keeps_nothing_of_a_call",
           only="process", hangs=True),
    mutant("hostile", "telling a target that kills from a failure", "src/target/decision.rs",
           "Err(Error::Denied(Denial::LaunchFailed { .. })) =>",
           "Err(Error::Denied(Denial::PolicyMissing)) =>",
           HOSTILE + "a_target_that_kills_what_acts_for_it_is_named_in_the_reply",
           only="process"),
    mutant("hostile", "a limit for the look-up of accounts", "src/ground/waiting.rs",
           "    alarm::set(LONGEST_LOOKUP);\n", "    let _ = LONGEST_LOOKUP;\n",
           "system/test_directory.py::test_"
           "no_process_of_roots_waits_without_end_for_a_directory_that_does_not_answer",
           hangs=True),
    mutant("hostile", "a stop that the monitor carries out", "src/root/monitor/agent.rs",
           "last.and(unit.stop())", "last.map(drop)",
           HOSTILE + "a_stop_is_carried_out_whatever_becomes_of_the_process_that_was_asked",
           only="systemd"),
    mutant("hostile", "an end of the server by the monitor", "src/root/monitor.rs",
           "if leaves_something || self.order.policy.server.launcher != Launcher::Slurm",
           "if false && self.order.policy.server.launcher != Launcher::Slurm",
           HOSTILE + "a_spawn_whose_supervisor_is_stopped_and_whose_caller_goes_is_undone",
           only="process", hangs=True),
    mutant("hostile", "an end of a start that nobody waits for", "src/target/server.rs",
           "if wire.is_abandoned() {", "if wire.is_abandoned() && false {",
           HOMES + "a_start_in_a_home_that_hangs_ends_with_an_error_that_names_it",
           only="root and file", hangs=True),
    mutant("hostile", "a keeper that does not let its supervisor be stopped", "src/root/keeper.rs",
           "Some(WaitPidFlag::WUNTRACED)", "Some(WaitPidFlag::empty())",
           HOSTILE + "a_server_that_ends_under_a_stopped_supervisor_takes_roots_keeper_along",
           only="process", hangs=True),
    mutant("hostile", "waking what a target has stopped", "src/target/process/stop.rs",
           "        let _ = supervisor.signal(libc::SIGCONT);\n", "",
           HOSTILE + "a_supervisor_that_its_target_stops_holds_up_no_stop_and_no_process_of_roots",
           only="process and alone"),
    mutant("hostile", "an end of a supervisor that is stopped for ever", "src/root/keeper.rs",
           "let stays = times_stopped < MOST_STOPS;", "let stays = times_stopped < u32::MAX;",
           HOSTILE + "a_supervisor_that_is_stopped_for_ever_is_ended_with_its_server",
           only="process", hangs=True),
    mutant("10", "agreement of command line and request", "src/target/cli.rs",
           "        if is_other {", "        if is_other && false {",
           HOSTILE + "command_line_and_request_have_to_agree", only="process"),
    mutant("11", "root's line on what was never decided", "src/root/monitor.rs",
           "        self.audit(Some(&account.name), Some(action), code);\n",
           "        if code != UNDECIDED {\n"
           "            self.audit(Some(&account.name), Some(action), code);\n        }\n",
           HOSTILE + "a_call_that_ends_before_its_decision_is_written_down",
           only="process and KILL", hangs=True),
    mutant("11", "patience with a log that is full", "src/ground/syslog.rs",
           "    socket.set_write_timeout(Some(PATIENCE))?;\n",
           "    let _ = PATIENCE;\n    socket.set_nonblocking(true)?;\n",
           INHERITED + "a_flood_of_the_log_suppresses_no_decision"),
    mutant("1", "forgetting the environment", "src/main.rs",
           "    system_calls::clear_environment();\n", "",
           "system/test_names.py::"
           "test_libraries_for_accounts_see_nothing_of_the_callers_environment"),
    mutant("1", "closing what libraries have left open", "src/target/server.rs",
           "        system_calls::close_descriptors_on_exec();\n", "", LEFT_OPEN),
    mutant("1", "closing what libraries have left open, for supervisor and keeper", SYSTEM_CALLS,
           "    close_descriptors_on_exec();\n    let mut kept", "    let mut kept", LEFT_OPEN,
           only="process"),
    mutant("2", "trust in the interpreter", "src/root/trusted_file/program.rs",
           "        Some(Err(distrust)) => Err(distrust),",
           "        Some(Err(_)) => Ok((file, stat)),", EXECUTABLE, only="change7 or change8"),
    mutant("4", "refusal of accounts that have expired", "src/root/policy.rs",
           "!account.has_expired(),", "true,",
           INHERITED + "an_account_that_has_expired_has_no_server"),
    mutant("4", "limits of its own for look-ups", "src/main.rs", "refresh_limits()?;",
           "if false { refresh_limits()? } else { Vec::new() };",
           STARVED + "who_may_have_no_server_has_none_however_few_files_root_may_open",
           only="io--S"),
    mutant("4", "refusal where too few files may be open", AFRESH, ">= FEWEST_FILES",
           ">= 0 * FEWEST_FILES",
           STARVED + "who_may_have_no_server_has_none_however_few_files_root_may_open",
           only="io--n"),
    mutant("4", "limits of its own for the look-ups of jsd-helper", "src/jsd-helper/lib.rs",
           "        refresh_limits()?;\n", "        let _ = refresh_limits;\n",
           STARVED + "jsd_helper_overlooks_no_date_of_expiry"),
    mutant("4", "refusal of names that lead to another directory", "src/root/policy.rs",
           '![".", ".."].contains(&account.name.as_str())', "!account.name.is_empty()",
           INHERITED + "an_account_whose_name_leads_to_another_directory_has_no_server"),
    mutant("hostile", "limits of a wait while reports come", "src/target/launcher/watch.rs",
           "if has_report && passed < limit.saturating_add(SHORTEST_ENTRY) {", "if has_report {",
           FORGED + "a_flood_of_reports_holds_up_no_reply", only="root"),
    mutant("hostile", "a limit of what is read during an undoing", "src/ground/wire.rs",
           "        for _ in 0..MOST_PARTS {", "        loop {",
           FORGED + "a_flood_of_reports_hides_no_caller_that_has_gone", only="user"),
    mutant("11", "a name without a blank", "src/root/audit.rs",
           ".replace(' ', \"\\\\x20\")", "",
           BLANKS + "the_line_about_it_has_no_field_that_the_name_has_made", only="root"),
    mutant("units", "escaping of a blank in a name", "src/ground/placeholders.rs",
           ".replace(' ', \"\\\\x20\")", "",
           BLANKS + "in_a_unit_each_path_with_the_name_is_one_path"),
    mutant("units", "escaping of quotes in a name", "src/ground/placeholders.rs",
           ".replace('\"', \"\\\\x22\")", "",
           BLANKS + "no_name_is_another_one_in_roots_own_commands"),
]
# fmt: on

# Tests that `docs/security.md` names for a check that no edit can remove, and why not.
BEYOND = {
    "a_flood_of_request_is_cut_off_before_anything_is_done":
        "without the limit it would eat this computer's memory; a request of 4 MiB shows the same",
    "a_server_of_another_account_is_out_of_reach": "in user mode the kernel's check",
    "arguments_and_variables_arrive_unchanged_and_unseen":
        "what systemd is never told has no line that could be taken out",
    "nobody_else_sees_what_a_server_was_given": "as the one before",
    "a_spawn_whose_processes_all_get_a_signal_leaves_no_server":
        "many lines together; those for one moment each are above",
    "who_reads_the_request_can_be_stopped_by_neither_target_nor_caller":
        "the kernel's check of ids; that it is nobody, another test sees",
    "what_a_target_does_to_the_limits_of_its_processes_ends_no_call_without_a_reply":
        "what ends by such a limit looks like what was killed",
    "a_target_whose_table_of_processes_is_full_is_answered":
        "root forks, so that no line depends on the target's limit",
    "a_hook_that_ends_all_processes_of_its_user_leaves_the_call_alone":
        "the kernel's check of ids",
    "nothing_is_taken_out_of_the_processes_that_act_for_a_target":
        "the kernel's check, by the mode of the file; the flag is for other modes",
    "in_user_mode_too_nothing_is_taken_out_of_a_mediator": "as the one before",
    "a_line_of_a_server_is_on_its_users_page_before_it_is_up_as_text":
        "the class gives text, and JupyterHub's page shows text",
    "no_reply_is_more_than_a_failed_start_of_her_own":
        "many lines of the class together; its own tests have one for each",
    "the_end_of_a_server_is_noticed_before_others_have_its_port_for_long": "as the one before",
    "the_policy_is_read_anew_and_has_to_be_roots":
        "the check of the policy, which others show; without reading it there are no hooks to run",
    "no_server_has_the_secret_of_its_hooks":
        "what is executed keeps no memory, and each execution closes descriptors",
    "root_never_reads_the_request": "of each byte, the test beside it tells the same",
    "closed_descriptors_are_no_way_to_write_elsewhere": "Rust's own start opens /dev/null",
    "a_site_that_records_sudo_has_servers_no_lasting_sudo_and_no_tokens_on_record":
        "what is never written has no line that could be taken out",
    "a_mediator_killed_at_any_moment_leaves_all_or_nothing":
        "many lines together; those for one moment each are above",
    "a_mediator_killed_at_any_moment_leaves_a_unit_or_nothing": "as the one before",
    "markup_of_a_dying_server_is_text_on_the_admins_pages": "the Python package's part",
    "users_read_of_the_hooks_on_the_page_while_their_server_starts": "the Python package's part",
    "each_member_is_small_enough_to_be_read": "it counts lines",
    "one_program_alone_loads_libpam": "a crate that is not named is not linked",
    "profiles_and_their_values_are_no_other_options":
        "each option is one word of a list, which no shell reads",
    "the_name_of_a_server_is_no_option_and_no_list": "as the one before",
    "options_of_slurms_programs_in_the_hubs_environment_reach_none_of_them":
        "the environment is emptied three times: by the mediator, and at each execution",
    "a_user_can_name_a_port_in_a_comment_and_never_a_host": "a comment has no place for a host",
    "an_address_that_is_not_the_servers_is_not_believed": "the Python package's part",
    "nobody_else_can_read_a_jobs_script": "Slurm's part",
    "nobody_else_learns_a_token_while_it_is_submitted": "as the one before, and the kernel's",
    "nobody_else_learns_a_token_while_a_server_starts_and_runs": "as the one before",
    "a_forged_ticket_in_a_job_of_ones_own_is_a_program_of_ones_own": "it has nothing to refuse",
    "a_port_that_another_account_has_taken_is_no_servers":
        "the port is chosen anew, or its listeners are looked at, which others prove",
    "a_port_whose_other_addresses_are_another_accounts_is_given_up_after_three_tries":
        "as the one before",
    "a_spawn_killed_at_any_moment_leaves_a_job_that_its_caller_knows_or_none":
        "many lines together; those for one moment each are above",
    "nothing_outlives_a_server_however_it_ends": "the supervisor's part, which others prove",
    **FILES_BEYOND,
    "who_calls_from_other_namespaces_is_who_they_are": "the kernel's part",
    "a_connection_that_is_passed_on_stays_a_call_of_the_hubs": "the kernel's part",
    "a_caller_that_goes_away_at_any_moment_leaves_a_unit_or_nothing":
        "many lines together; those for one moment each are above",
    "a_call_goes_on_when_the_door_ends": "systemd's part, by KillMode=process",
    "a_hub_that_may_gain_no_rights_starts_zoes_jupyterlab": "all of it together",
}  # fmt: skip
