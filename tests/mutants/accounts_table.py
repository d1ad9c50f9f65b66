"""The mutants of accounts on first use, in the order of their section in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant, mutant

TESTS = "system/test_accounts_on_first_use.py::test_"
ENROLMENT = "src/root/enrolment.rs"
LIKE = "names.any(is_like) || is_known(&lower)? || is_known(&name.to_uppercase())?"

# fmt: off
ACCOUNTS_MUTANTS: list[Mutant] = [
    mutant("accounts", "check 4 of what was made", "src/root/policy.rs",
           "if account.uid.is_root() {", "if false && account.uid.is_root() {",
           TESTS + "whatever_the_program_makes_is_decided_on_as_any_account",
           only="target_is_root"),
    mutant("accounts", "a limit for how often", ENROLMENT,
           "if !turn.take_place(", "if false && !turn.take_place(",
           TESTS + "no_more_than_ten_accounts_are_tried_in_a_minute"),
    mutant("accounts", "trust in the folder of turns", ENROLMENT,
           "    make_trusted(folder).map_err(|distrust| distrust.to_string())?;\n",
           "    let _ = make_trusted(folder);\n",
           TESTS + "a_folder_of_turns_that_is_not_roots_alone_is_not_used"),
    mutant("accounts", "a look at the action", "src/root/monitor.rs",
           'if options.action == Some("spawn") {', 'if options.action != Some("") {',
           TESTS + "only_a_spawn_that_says_so_on_its_command_line_makes_an_account"),
    mutant("accounts", "the pattern of names", ENROLMENT,
           "!settings.names.matches(name)", "false && !settings.names.matches(name)",
           TESTS + "no_account_is_made_of_a_name_that_the_pattern_does_not_match"),
    mutant("accounts", "the rule for all names", ENROLMENT,
           'is_name(name) && ![".", ".."].contains(&name);',
           'is_name("x") && !["."].contains(&"x");',
           TESTS + "no_pattern_lets_an_option_or_a_folder_be_a_name"),
    mutant("accounts", "refusal of names that differ by case", ENROLMENT,
           LIKE, f"({LIKE}) && false",
           TESTS + "no_account_is_made_whose_name_differs_by_case_alone"),
    mutant("accounts", "a look into /etc/passwd", ENROLMENT,
           "names.any(is_like) ||", "(names.any(is_like) && false) ||",
           TESTS + "no_account_is_made_whose_name_differs_by_case_alone", only="file"),
    mutant("accounts", "refusal of a group's name", ENROLMENT,
           "group.map(|_|", "group.filter(|_| false).map(|_|",
           TESTS + "no_account_is_made_of_a_groups_name_or_of_one_in_hub_users"),
    mutant("accounts", "refusal of a name in hub_users", ENROLMENT,
           "any(|hub| is_like(hub))", "any(|hub| is_like(hub) && false)",
           TESTS + "no_account_is_made_of_a_groups_name_or_of_one_in_hub_users"),
    mutant("accounts", "telling a failed look-up from an answer", ENROLMENT,
           "User::from_name(name).map(|user| user.is_some())",
           "Ok(User::from_name(name).is_ok_and(|user| user.is_some()))",
           TESTS + "a_directory_that_does_not_answer_is_nobodys_absence"),
    Mutant("accounts", "a look whether the account is there", (
               Edit(ENROLMENT, "if is_name && within_limit(|| is_known(name))",
                    "if is_name && within_limit(|| is_known(name).map(|_| false))"),
               Edit(ENROLMENT, "    if within_limit(|| is_known(name))",
                    "    if within_limit(|| is_known(name).map(|_| false))"),
               Edit(ENROLMENT, LIKE, f"({LIKE}) && false"),
           ), TESTS + "no_program_runs_for_an_account_that_is_there"),
    mutant("accounts", "a second look when it is its turn", ENROLMENT,
           "    if within_limit(|| is_known(name))",
           "    if within_limit(|| is_known(name).map(|_| false))",
           TESTS + "two_calls_at_once_for_one_name_make_one_account_and_start_two_servers",
           only="root"),
    mutant("accounts", "a limit for the wait", "src/ground/turn.rs",
           "if begin.elapsed() < limit =>", "if begin.elapsed() < Duration::MAX.max(limit) =>",
           TESTS + "a_turn_that_does_not_come_is_told", hangs=True),
    mutant("accounts", "trust in the program", ENROLMENT,
           '.map_err(|distrust| format!("accounts.create is refused: {distrust}"))?;', ".ok();",
           TESTS + "a_program_that_others_could_have_written_makes_no_account"),
    mutant("accounts", "surroundings of its own", ENROLMENT,
           "Surroundings::Clean);", "Surroundings::Inherited);",
           TESTS + "the_program_is_root_with_the_name_and_nothing_of_the_callers"),
    mutant("accounts", "telling that the program failed", ENROLMENT,
           "if result.status == HookStatus::Ok {", "if result.status != HookStatus::Timeout {",
           TESTS + "a_program_that_fails_or_hangs_is_told_with_its_last_output_and_leaves_nothing"),
    mutant("accounts", "an end of what the program left", ENROLMENT,
           "    end_children(GRACE);\n", "    let _ = (GRACE, end_children as fn(_));\n",
           TESTS + "what_the_program_leaves_running_is_ended_although_it_succeeded"),
]
# fmt: on
