"""The mutants of `jsd-helper`, in the order of its table in `docs/security.md`."""

from __future__ import annotations

from mutants.mutant import Edit, Mutant, mutant

HELPER = "system/test_jsd_helper.py::test_"
PROPERTY = HELPER + "a_property_that_is_not_on_the_list_or_above_the_policy_starts_nothing"
SOMEBODY_ELSE = HELPER + "a_server_of_anyone_else_or_another_program_is_not_started"
OPTION = HELPER + "an_option_that_is_repeated_unknown_or_leads_outside_is_refused"
VERBS = HELPER + "missing_words_are_a_usage_and_all_but_two_verbs_are_refused"

# fmt: off
JSD_MUTANTS = [
    mutant("jsd-helper", "a closed list of properties", "src/jsd-helper/wish.rs",
           '_ => return Err(format!("the property {name:?} is not one that may be set")),',
           "_ => Some(Value::Text(text.to_owned())),", PROPERTY, only="ExecStartPre"),
    mutant("jsd-helper", "the policy's ceilings", "src/jsd-helper/lib.rs",
           "        wish.check_against(policy)?;\n", "", PROPERTY, only="MemoryMax"),
    mutant("jsd-helper", "checks of the places that properties name", "src/jsd-helper/lib.rs",
           "        check_place(wish, &run.unit)?;\n", "", PROPERTY, only="ReadOnlyPaths"),
    mutant("jsd-helper", "refusal of what the Hub would have systemd give away",
           "src/jsd-helper/lib.rs",
           '!wish.name.starts_with("RuntimeDirectory") && wish.name != "EnvironmentFile"',
           'wish.name != "EnvironmentFile"',
           HELPER + "a_server_is_started_as_its_target_within_the_policy"),
    mutant("jsd-helper", "the target's own group", "src/jsd-helper/lib.rs",
           "    check_group(&run.gid, target)?;\n", "", SOMEBODY_ELSE, only="gid"),
    mutant("jsd-helper", "the server's own program", "src/jsd-helper/lib.rs",
           "    check_program(&run.program, policy)?;\n", "", SOMEBODY_ELSE, only="program"),
    mutant("jsd-helper", "a directory of the target's", "src/jsd-helper/lib.rs",
           "    check_working_directory(&run.working_directory, target, policy)?;\n", "",
           SOMEBODY_ELSE, only="directory"),
    mutant("jsd-helper", "limits that have a controller", "src/jsd-helper/lib.rs",
           "set.find(|limit| !limit.has_controller())", "set.find(|_| false)",
           "system/test_limits.py::test_jsd_helper_sets_no_limit_for_which_there_is_no_controller"),
    mutant("jsd-helper", "the policy's directory of programs", "src/jsd-helper/checks.rs",
           " || directory.is_some_and(|directory| Some(directory) != program.parent())", "",
           HELPER + "the_program_is_in_the_directory_that_the_policy_names"),
    mutant("jsd-helper", "the policy's slice", "src/jsd-helper/lib.rs",
           "        check_slice(slice, policy)?;\n    }\n",
           "        let _ = check_slice(slice, policy);\n    }\n", OPTION, only="slice"),
    mutant("jsd-helper", "refusal of repeated options", "src/jsd-helper/options.rs",
           "given.insert(name, value).is_some()", "given.insert(name, value).is_some() && false",
           OPTION, only="wash"),
    mutant("jsd-helper", "two verbs alone", "src/jsd-helper/options.rs",
           '["systemctl", ..] => {',
           '["systemctl", _, name] => Ok(parse_control("start", name)?),\n["systemctl", ..] => {',
           VERBS, only="start"),
    mutant("jsd-helper", "letters that a unit's name may have", "src/jsd-helper/unit.rs",
           "!is_unit_text(own)", "(is_unit_text(own) && false)",
           VERBS, only="jsu"),
    mutant("jsd-helper", "a prefix of the Hub's own units", "src/jsd-helper/unit.rs",
           "stem.strip_prefix(PREFIX).unwrap_or_default()", "stem",
           VERBS, only="ssh"),
    mutant("jsd-helper", "an end of the whole unit", "src/jsd-helper/lib.rs",
           '|verb, unit| ["systemctl", verb, unit]', '|_: &str, unit| ["systemctl", "kill", unit]',
           HELPER + "stop_ends_the_unit_with_all_in_it_and_nothing_else"),
    mutant("jsd-helper", "leave to stop a slice", "src/jsd-helper/checks.rs",
           "if !policy.systemd.allow_slice_stop {", "if false {", VERBS, only="jhub.slice"),
    mutant("jsd-helper", "refusal to stop other slices", "src/jsd-helper/checks.rs",
           "    check_slice(slice, policy)\n", "    Ok(())\n",
           HELPER + "the_slice_is_stopped_only_where_the_policy_lets_it"),
    mutant("jsd-helper", "the caller's rights on variables", "src/jsd-helper/environment_file.rs",
           "    borrow_rights(caller).map_err(", "    Ok::<(), Errno>(drop(caller)).map_err(",
           HELPER + "variables_are_read_with_the_callers_rights_and_from_a_file_alone"),
    mutant("jsd-helper", "removal of the variables", "src/jsd-helper/environment_file.rs",
           "Err(error) = remove_file(path) {", "Err(error) = std::fs::metadata(path) {",
           HELPER + "the_variables_are_in_the_server_and_nowhere_else"),
    mutant("jsd-helper", "the real uid of a setuid call", "src/jsd-helper/lib.rs",
           "Caller { uid: getuid(), name: None, ..said }",
           "said",
           HELPER + "whoever_calls_a_setuid_copy_is_who_they_are"),
    Mutant("jsd-helper", "an environment of its own",
           (Edit("src/jsd-helper/lib.rs", "        clear_environment();\n", ""),
            Edit("src/jsd-helper/execution.rs", "execve(&path, &argv, &ENVIRONMENT)",
                 "nix::unistd::execv(&path, &argv)")),
           HELPER + "nothing_of_the_callers_environment_has_any_effect"),
    mutant("jsd-helper", "root's line in the authentication log", "src/jsd-helper/lib.rs",
           '        self.audit("ok");\n', "",
           HELPER + "every_decision_is_a_line_of_roots_in_the_authentication_log"),
]
# fmt: on
