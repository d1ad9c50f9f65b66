//! What holds for every input: inverses, invariants, and parsers that never panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::string_slice, clippy::disallowed_methods)]

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::collections::BTreeMap;
use std::io::Write;

use ground::denial::Denial;
use ground::escape::{Lines, escape_control_characters};
use ground::report::{End, HookResult, HookStatus, Report, Setback};
use ground::server_name::{ServerName, escaping::escape_name};
use ground::unit_name::{SliceName, UnitTemplate};
use ground::wire::Wire;
use nix::errno::Errno;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use root::policy::file::{self, Policy};
use target::environment::Environment;
use target::process::identity::Started;

/// Text in which what escaping is about is frequent.
fn text() -> impl Strategy<Value = String> {
    let letter = prop_oneof![
        3 => proptest::char::range('a', 'c'),
        3 => select(
            "./-:_\\xX0 \n\t\r\u{1b}\u{7f}\u{9b}\u{2028}\u{202e}\u{2066}üÿ"
                .chars()
                .collect::<Vec<_>>()
        ),
        1 => any::<char>(),
    ];
    vec(letter, 0..40).prop_map(|letters| letters.into_iter().collect())
}

/// Undoes `ServerName::escape`.
fn unescape(escaped: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = escaped;
    while let Some(first) = rest.chars().next() {
        if let Some(code) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(&code[..2], 16).unwrap());
            rest = &code[2..];
        } else {
            bytes.push(if first == '-' { b'/' } else { u8::try_from(first).unwrap() });
            rest = &rest[1..];
        }
    }
    bytes
}

/// A pattern against a name, one sign after the other: the definition, however slow.
fn matches_by_definition(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), None) => matches_by_definition(rest, name),
        (Some(('*', rest)), Some((_, left))) => {
            matches_by_definition(rest, name) || matches_by_definition(pattern, left)
        }
        (Some((sign, rest)), Some((letter, left))) => {
            (*sign == '?' || sign == letter) && matches_by_definition(rest, left)
        }
        _ => false,
    }
}

fn is_passed(name: &str, remove: Vec<String>, keep: Option<Vec<String>>) -> bool {
    let rules = file::Environment { remove, keep, set: BTreeMap::new() };
    let asked = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
    let environment = Environment::prepare(asked, &rules, None, None).unwrap();
    assert_eq!(environment.variables.len() + environment.dropped.len(), 1);
    environment.dropped.is_empty()
}

fn hook_result() -> impl Strategy<Value = HookResult> {
    let status = prop_oneof![
        Just(HookStatus::Ok),
        Just(HookStatus::Failed),
        Just(HookStatus::Timeout),
        Just(HookStatus::Refused),
        Just(HookStatus::Running),
    ];
    let seconds = (0_u32..3_600_000).prop_map(|milliseconds| f64::from(milliseconds) / 1000.0);
    (text(), status, option::of(any::<i32>()), option::of(any::<i32>()), seconds, text()).prop_map(
        |(name, status, exit, signal, seconds, output)| HookResult {
            name,
            status,
            exit,
            signal,
            seconds,
            output,
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let setback = (text(), text(), any::<u8>()).prop_map(|(code, sentence, exit_status)| Setback {
        code,
        sentence,
        exit_status,
    });
    prop_oneof![
        hook_result().prop_map(Report::Hook),
        any::<i32>().prop_map(Report::Server),
        Just(Report::Found),
        any::<Option<u64>>().prop_map(Report::Entered),
        (any::<u32>(), text()).prop_map(|(uid, home)| Report::Admitted(uid, home)),
        text().prop_map(Report::Answer),
        text().prop_map(Report::Warning),
        setback.prop_map(Report::Failed),
        any::<i32>().prop_map(|errno| Denial::at("fork")(Errno::from_raw(errno)).into()),
        text().prop_map(|name| Denial::HookFailed { name }.into()),
        (any::<i32>(), text()).prop_map(|(status, tail)| Report::Ended(End::Exited(status), tail)),
        (any::<i32>(), text()).prop_map(|(signal, tail)| Report::Ended(End::Killed(signal), tail)),
    ]
}

/// A request of the protocol's form, whose values may be anything of their type.
fn request() -> impl Strategy<Value = String> {
    let number = || {
        prop_oneof![
            4 => (1_i64..3600).prop_map(|number| number.to_string()),
            1 => any::<i64>().prop_map(|number| number.to_string()),
            1 => any::<f64>().prop_map(|number| number.to_string()),
            1 => Just("1e999".to_owned()),
        ]
    };
    let quoted = |text: &String| serde_json::to_string(text).unwrap();
    let spawn = (vec(text(), 0..4), btree_map(text(), text(), 0..4), text(), number(), number())
        .prop_map(move |(args, env, name, port, seconds)| {
            let (args, env) =
                (serde_json::to_string(&args).unwrap(), serde_json::to_string(&env).unwrap());
            let more = format!(r#""wait":{{"port":{port},"seconds":{seconds}}}"#);
            let name = quoted(&name);
            format!(r#"{{"action":"spawn","args":{args},"env":{env},"server_name":{name},{more}}}"#)
        });
    let others = (select(vec!["kill", "stop", "status"]), number(), number(), text()).prop_map(
        move |(action, pid, seconds, started)| {
            let more = match action {
                "kill" => format!(r#""signal":{seconds}"#),
                "stop" => format!(r#""term_seconds":{seconds}"#),
                _ => format!(r#""started":{}"#, quoted(&started)),
            };
            format!(r#"{{"action":"{action}","pid":{pid},{more}}}"#)
        },
    );
    prop_oneof![spawn, others]
}

/// Bytes that something was done to: some are changed, some are gone, the end may be missing.
fn mutated(texts: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 0..4);
    (texts, edits, option::of(any::<prop::sample::Index>())).prop_map(|(text, edits, end)| {
        let mut bytes = text.into_bytes();
        for (place, byte, stays) in edits {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                if stays {
                    bytes[place] = byte;
                } else {
                    bytes.remove(place);
                }
            }
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len() + 1));
        }
        bytes
    })
}

/// Lines of a policy, of which most are right.
fn policy() -> impl Strategy<Value = String> {
    let table = select(vec![
        "",
        "[targets]",
        "[hooks]",
        "[server]",
        "[environment]",
        "[limits]",
        "[systemd]",
        "[other]",
    ]);
    let key = select(vec![
        "hub_users",
        "groups",
        "min_uid",
        "dir",
        "timeout_seconds",
        "on_failure",
        "umask",
        "log",
        "remove",
        "keep",
        "set",
        "open_files",
        "rlimits",
        "slice",
        "unit_name",
        "extra_paths",
        "read_only_paths",
        "properties",
        "memory",
        "cpus",
        "other",
    ]);
    let value = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        text().prop_map(|text| format!("{text:?}")),
        vec(text(), 0..3).prop_map(|texts| format!("{texts:?}")),
        Just("{ nofile = 5 }".to_owned()),
        Just("\"4G\"".to_owned()),
        Just("\"0022\"".to_owned()),
        Just("\"/etc/hooks\"".to_owned()),
        Just("\"fail\"".to_owned()),
        Just("\"jupyter-{user}-{server}\"".to_owned()),
        Just("true".to_owned()),
    ];
    let line = (key, value).prop_map(|(key, value)| format!("{key} = {value}"));
    vec((table, vec(line, 0..3)), 0..4).prop_map(|tables| {
        let lines =
            tables.into_iter().map(|(table, lines)| format!("{table}\n{}\n", lines.join("\n")));
        lines.collect()
    })
}

/// Words of a command line, joined by NUL.
fn command_line() -> impl Strategy<Value = String> {
    let dashes = select(vec!["", "-", "--", "---"]);
    let name = select(vec![
        "user",
        "logging",
        "log-to-stderr",
        "log_file_prefix",
        "log-rotate_mode",
        "help",
        "x",
    ]);
    let value = prop_oneof![
        Just(String::new()),
        Just("=info".to_owned()),
        Just("=true".to_owned()),
        text().prop_map(|text| format!("={text}")),
        text(),
    ];
    let word =
        (dashes, name, value).prop_map(|(dashes, name, value)| format!("{dashes}{name}{value}"));
    vec(word, 0..5).prop_map(|words| words.join("\0"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn an_escaped_server_name_is_safe_and_can_be_undone(name in text()) {
        if let Ok(parsed) = ServerName::parse_asked(name.clone()) {
            let escaped = parsed.escape();
            let is_safe = |c: char| c.is_ascii_alphanumeric() || ":_.-\\".contains(c);
            prop_assert!(escaped.chars().all(is_safe), "{escaped:?}");
            prop_assert!(!escaped.starts_with('.') && escaped.len() <= 238);
            prop_assert_eq!(unescape(&escaped), name.into_bytes());
        }
    }

    #[test]
    fn two_server_names_never_share_a_form(
        one in "[-/x2d.\\\\]{0,6}", other in "[-/x2d.\\\\]{0,6}",
    ) {
        let escape = |name: &str| ServerName::parse(name.to_owned()).unwrap().escape();
        prop_assert_eq!(escape(&one) == escape(&other), one == other);
    }

    #[test]
    fn two_servers_never_share_a_unit_whatever_the_template(
        one in ("[-a/.]{1,3}", "[-a/.\\\\]{0,3}"),
        other in ("[-a.]{1,3}", "[-a/.\\\\]{0,3}"),
        template in "[a.]{0,2}-[-a.]{0,2}\\{(user|USERNAME)\\}[-a.]{0,2}-[-a.]{0,2}(\\{server\\}[-a.]{0,2})?",
    ) {
        let Ok(template) = UnitTemplate::try_from(template) else { return Ok(()) };
        // No account has a slash in its name: check 4.
        let one = (one.0.replace('/', "_"), one.1);
        let unit = |(user, server): &(String, String)| {
            template.name_unit(user, &ServerName::parse(server.clone()).unwrap()).unwrap()
        };
        prop_assert_eq!(unit(&one) == unit(&other), one == other);
    }

    #[test]
    fn a_unit_name_cannot_be_an_option_a_pattern_or_a_path(user in text(), server in text()) {
        let Ok(server) = ServerName::parse_asked(server) else { return Ok(()) };
        if let Ok(unit) = UnitTemplate::default().name_unit(&user, &server) {
            let is_safe = |c: char| c.is_ascii_alphanumeric() || ":_.-\\".contains(c);
            let name = unit.as_str().strip_prefix("jupyter-").unwrap();
            prop_assert!(name.ends_with(".service") && name.chars().all(is_safe), "{name}");
            prop_assert!(unit.as_str().len() <= 255);
        }
    }

    #[test]
    fn a_slice_is_within_another_if_its_parts_begin_with_the_others(
        one in "[ab](-[ab]){0,3}", other in "[ab](-[ab]){0,3}",
    ) {
        let slice = |name: &str| SliceName::try_from(name.to_owned()).unwrap();
        let parts = |name: &str| name.split('-').map(str::to_owned).collect::<Vec<_>>();
        let is_within = parts(&one).starts_with(&parts(&other));
        prop_assert_eq!(slice(&one).is_within(&slice(&other)), is_within);
    }

    #[test]
    fn names_are_escaped_as_systemd_itself_does_it(names in vec(text(), 1..20)) {
        let is_argument = |name: &String| !name.is_empty() && !name.contains('\0');
        let names: Vec<String> = names.into_iter().filter(is_argument).collect();
        let program = std::path::Path::new("/usr/bin/systemd-escape");
        if names.is_empty() || !program.exists() {
            return Ok(());
        }
        let output = std::process::Command::new(program).arg("--").args(&names).output().unwrap();
        let theirs = String::from_utf8(output.stdout).unwrap();
        let ours: Vec<String> = names.iter().map(|name| escape_name(name)).collect();
        prop_assert_eq!(theirs.trim_end_matches('\n'), ours.join(" "));
    }

    #[test]
    fn escaped_text_has_no_character_that_acts(text in text(), more in any::<Vec<u8>>()) {
        let bytes = [text.as_bytes(), &more].concat();
        let turns = |c: char| ('\u{2028}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c);
        let one = escape_control_characters(&bytes, Lines::One);
        prop_assert!(!one.chars().any(|c| c.is_control() || turns(c)), "{one:?}");
        let many = escape_control_characters(&bytes, Lines::Many);
        let many_acts = |c: char| (c.is_control() && !"\n\t".contains(c)) || turns(c);
        prop_assert!(!many.chars().any(many_acts), "{many:?}");
        // What is harmless stays as it is, also the second time.
        prop_assert_eq!(&escape_control_characters(one.as_bytes(), Lines::One), &one);
        prop_assert_eq!(&escape_control_characters(many.as_bytes(), Lines::Many), &many);
    }

    #[test]
    fn a_start_time_is_read_as_it_was_written(
        boot in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ticks: u64,
    ) {
        let text = format!("{boot}:{ticks}");
        prop_assert_eq!(Started::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_read_as_a_start_time_means_the_same_when_it_is_written(
        text in "[0-9a-f-]{36}:[0-9]{1,21}|[0-9a-fg-]{34,38}:[+0-9 ]{0,21}",
    ) {
        if let Some(started) = Started::parse(&text) {
            prop_assert_eq!(Started::parse(&started.to_string()), Some(started));
        }
    }

    #[test]
    fn any_bytes_are_a_request_within_bounds_or_malformed(
        bytes: Vec<u8>, changed in mutated(request()),
    ) {
        checks::check_request(&bytes);
        checks::check_request(&changed);
    }

    #[test]
    fn a_request_is_what_another_reader_of_json_sees_in_it(text in request()) {
        if target::request::Request::parse(text.as_bytes()).is_ok() {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert!(value.is_object());
        }
    }

    #[test]
    fn any_text_is_a_policy_that_can_be_carried_out_or_wrong(
        text in text(), changed in mutated(policy()),
    ) {
        checks::check_policy(text.as_bytes());
        checks::check_policy(&changed);
    }

    #[test]
    fn a_key_that_no_policy_has_is_refused_with_its_line_and_name(
        table in select(
            vec!["", "targets", "hooks", "server", "environment", "limits", "systemd"]
        ),
        key in "[a-z]{3,8}_[a-z]{9}", above in 0_usize..5,
    ) {
        let table = if table.is_empty() { String::new() } else { format!("[{table}]") };
        let text = format!("{table}{}{key} = 1\n", "\n".repeat(above + 1));
        let sentence = Policy::parse(&text).unwrap_err();
        prop_assert!(sentence.starts_with(&format!("line {}: ", above + 2)), "{sentence}");
        prop_assert!(sentence.contains(&key), "{sentence}");
    }

    #[test]
    fn any_words_are_a_command_line_that_names_no_file_or_wrong(
        bytes: Vec<u8>, changed in mutated(command_line()),
    ) {
        checks::check_command_line(&bytes);
        checks::check_command_line(&changed);
    }

    #[test]
    fn every_report_is_read_as_it_was_written(reports in vec(report(), 1..4)) {
        let (mut wire, mut link) = Wire::open().unwrap();
        reports.iter().for_each(|report| wire.send(report));
        drop(wire);
        for report in reports {
            prop_assert_eq!(link.read_report().unwrap(), report);
        }
        prop_assert!(link.read_report().is_err());
    }

    #[test]
    fn bytes_that_are_no_report_are_refused(bytes: Vec<u8>) {
        let (mut wire, mut link) = Wire::open().unwrap();
        wire.reports.write_all(&bytes).unwrap();
        drop(wire);
        prop_assert!(link.read_report().is_err());
    }

    #[test]
    fn a_pattern_matches_what_its_definition_says(pattern in "[AB*?]{0,8}", name in "[AB]{0,8}") {
        let signs = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = matches_by_definition(&signs(&pattern), &signs(&name));
        prop_assert_eq!(is_passed(&name, vec![], Some(vec![pattern.clone()])), expected);
        prop_assert_eq!(is_passed(&name, vec![pattern.clone()], None), !expected);
        // What is to be removed goes, whatever is to be kept.
        prop_assert_eq!(is_passed(&name, vec![pattern], Some(vec!["*".to_owned()])), !expected);
    }
}
