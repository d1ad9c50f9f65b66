"""The mutants of socket mode, in the order of its section in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant, mutant

ATTACKS = "system/test_socket_attacks.py::test_"
SURVIVAL = "system/test_socket_survival.py::test_"
DOOR = "src/door/lib.rs"
CALLERS = "src/door/callers.rs"
CONNECTION = "src/root/connection.rs"
POLICY = "src/root/policy.rs"
UNKNOWN = '(!self.has_policy).then_some("?")'

# fmt: off
SOCKET_MUTANTS: list[Mutant] = [
    mutant("door", "a look at who has connected", CALLERS, UNKNOWN, 'Some("?")',
           ATTACKS + "who_is_no_hub_user_is_refused_whatever_the_socket_lets_through"),
    Mutant("door", "refusal of root", (
               Edit(CALLERS, UNKNOWN, '(!self.has_policy || uid.is_root()).then_some("?")'),
               Edit(POLICY, "Way::Socket => false,", "Way::Socket => caller.uid.is_root(),"),
           ), ATTACKS + "root_itself_is_no_hub_user_at_a_socket"),
    Mutant("door", "refusal of nobody", (
               Edit(CALLERS, "account.uid.as_raw() != NOBODY", "account.uid.as_raw() != 1"),
               Edit(POLICY, "caller.way == Way::Command || caller.uid.as_raw() != NOBODY", "true"),
           ), ATTACKS + "nobody_is_no_hub_user_even_if_the_policy_says_so"),
    mutant("door", "an end of the first line", CONNECTION,
           "const LONGEST_LINE: usize = 255;", "const LONGEST_LINE: usize = 99_999;",
           ATTACKS + "a_first_line_of_255_bytes_is_read_and_one_more_is_not"),
    mutant("door", "two parts of the first line", CONNECTION,
           """.split_once(' ').ok_or("it has no blank")?""",
           """.split_once(' ').unwrap_or(("kill", "zoe"))""",
           ATTACKS + "a_first_line_that_is_none_is_refused_unread"),
    mutant("door", "patience for the first line alone", CONNECTION,
           "const LONGEST_WAIT: Duration = Duration::from_secs(10);",
           "const LONGEST_WAIT: Duration = Duration::from_secs(99);",
           ATTACKS + "who_says_nothing_or_a_byte_a_second_is_ended_and_holds_nobody_up"),
    mutant("door", "the name as it is", CONNECTION,
           'format!("--user={name}")', 'format!("--user={}", name.trim())',
           ATTACKS + "a_name_in_the_first_line_is_a_whole_name"),
    mutant("door", "comparing the first line with the request", "src/target/answer.rs",
           "if announced.is_some_and(", "if false && announced.is_some_and(",
           ATTACKS + "a_request_that_is_none_or_another_is_refused", only="another"),
    mutant("door", "telling apart who else is made root", CONNECTION,
           ".filter(|_| is_roots_own())", "",
           ATTACKS + "a_hub_behind_sudo_cannot_bring_a_connection_of_its_own"),
    mutant("door", "refusal of launchers beside it", "src/root/monitor.rs",
           '(Launcher::Process, "spawn") if ', '(Launcher::Process, "spawn") if false && ',
           ATTACKS + "servers_as_processes_would_live_in_the_doors_unit_and_are_refused"),
    mutant("door", "refusal of strangers in a flood", CALLERS, UNKNOWN, 'Some("?")',
           SURVIVAL + "a_thousand_connections_of_a_stranger_cost_the_hub_nothing", hangs=True),
    mutant("door", "places for others", DOOR,
           "const KEPT_FOR_OTHERS: usize = 8;", "const KEPT_FOR_OTHERS: usize = 0;",
           SURVIVAL + "a_thousand_connections_of_one_hub_leave_another_hub_its_places",
           hangs=True),
    mutant("door", "patience for who reads", CONNECTION,
           "    connection.set_write_timeout(Some(LONGEST_WAIT)).ok()?;\n", "",
           SURVIVAL + "a_caller_that_reads_nothing_is_given_up_and_its_server_undone"),
    mutant("door", "a look at a policy that has changed", CALLERS,
           "when.elapsed() < LASTS && old == changed", "when.elapsed() < LASTS",
           SURVIVAL + "a_policy_that_has_changed_counts_for_the_next_call"),
    mutant("door", "an end when nobody calls", DOOR,
           "Ok(events.contains(&true) || !self.calls.is_empty())", "Ok(events.len() < 99)",
           SURVIVAL + "nothing_of_roots_is_left_when_nobody_has_called_for_a_while"),
]
# fmt: on
