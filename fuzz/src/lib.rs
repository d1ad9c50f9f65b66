//! What has to hold for any bytes that reach a parser of the program. Else a check panics.
//!
//! The fuzz targets give them what AFL invents, and `tests/corpus.rs` gives them the corpus.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use ground::server_name::ServerName;
use ground::units::find_resource;
use root::policy::file::{self, Policy};
use target::cli::{self, Command};
use target::environment::Environment;
use target::error::Error;
use target::process::identity::Identity;
use target::request::Request;

const HOUR: Duration = Duration::from_secs(3600);

/// A request is refused as malformed, or every field of it is within its bounds.
pub fn check_request(bytes: &[u8]) {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(error) => {
            return assert_refused(&error, &["malformed_request", "server_name_too_long"]);
        }
    };
    assert_is_part_of_a_file_name(&request.server_name().escape());
    match request {
        Request::Spawn(spawn) => {
            assert!(spawn.args.len() <= 4096);
            if let Some(wait) = spawn.wait {
                assert!(wait.port != Some(0) && wait.limit <= HOUR);
            }
            assert!(spawn.env.keys().all(|name| !name.is_empty() && !name.contains('=')));
            let asked = spawn.env.len();
            let environment =
                Environment::prepare(spawn.env, &file::Environment::default(), None, None);
            let environment = environment.expect("a parsed environment can be passed on");
            assert_eq!(environment.variables.len() + environment.dropped.len(), asked);
        }
        Request::Kill(kill) => assert_is_identity(&kill.server),
        Request::Stop(stop) => {
            assert!([stop.interrupt, stop.term, stop.kill].iter().all(|wait| *wait <= HOUR));
            assert_is_identity(&stop.server);
        }
        Request::Status(status) => assert_is_identity(&status.server),
        Request::AboutJob(about) => {
            assert!(about.longest_wait() <= 3 * HOUR);
            assert!(about.job.to_string().bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
}

/// A policy is refused with a sentence, or everything in it can be carried out.
pub fn check_policy(bytes: &[u8]) {
    // Where a file is not UTF-8, its bytes never get to the parser.
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(sentence) => return assert!(!sentence.is_empty()),
    };
    assert!(policy.targets.min_uid > 0);
    assert!(policy.hooks.dir.is_absolute() && policy.hooks.timeout <= HOUR);
    assert!(policy.accounts.create.is_none_or(|program| program.is_absolute()));
    assert!(policy.accounts.timeout <= HOUR && !policy.accounts.names.matches(&"a".repeat(256)));
    assert!(policy.server.directory.is_none_or(|directory| directory.is_absolute()));
    assert!(policy.server.umask.is_none_or(|umask| umask.0 <= 0o777));
    assert!(policy.limits.memory.is_none_or(|memory| memory.0 >= 1 << 20));
    assert!(policy.limits.cpus.is_none_or(|cpus| (0.01..=4096.0).contains(&cpus)));
    assert!(policy.limits.rlimits.keys().all(|name| find_resource(name).is_some()));
    for (user, name) in [("zoe", ""), (".x y", "../a-b")] {
        let server = ServerName::parse(name.to_owned()).expect("a name within its bounds");
        if let Ok(unit) = policy.systemd.unit_name.name_unit(user, &server) {
            assert!(unit.as_str().ends_with(".service") && unit.as_str().len() <= 255);
            assert!(!unit.as_str().starts_with(['-', '.']) && !unit.as_str().contains(['/', '*']));
        }
    }
    assert!(policy.systemd.default_shell.is_none_or(|shell| shell.is_absolute()));
    assert!(policy.systemd.extra_paths.iter().all(|path| path.0.starts_with('/')));
    let environment = Environment::prepare([].into(), &policy.environment, None, None);
    environment.expect("what a policy sets can be passed on");
}

/// A command line (its words are separated by NUL) is refused, or names no file to be written.
pub fn check_command_line(bytes: &[u8]) {
    let words: Vec<OsString> =
        bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    let options = match cli::parse(words.clone()) {
        Ok(Command::Answer(options)) => options,
        Ok(Command::Help | Command::Version) => return,
        Err(error) => return assert_refused(&error, &["usage", "option_refused"]),
    };
    let is_user = |word: &OsStr| options.user.as_deref().is_some_and(|user| word == user);
    for word in &words {
        let name = String::from_utf8_lossy(word.as_bytes()).replace('_', "-");
        let writes_files = name.trim_start_matches('-').starts_with("log-")
            && !name.trim_start_matches('-').starts_with("log-to-stderr");
        assert!(is_user(word) || !writes_files, "{word:?} was accepted");
    }
    if let Some(user) = options.user.as_deref() {
        let is_said = |word: &OsString| word.as_bytes().ends_with(user.as_bytes());
        assert!(words.iter().any(is_said), "{user:?} is in no word");
    }
}

fn assert_refused(error: &Error, codes: &[&str]) {
    assert!(codes.contains(&error.code()), "{}: {error}", error.code());
    assert_eq!(error.exit_status(), 1, "{error}");
}

fn assert_is_identity(server: &Identity) {
    assert!(server.pid.as_raw() > 0);
}

/// It cannot leave its folder or hide, and there is room for what stands around it.
fn assert_is_part_of_a_file_name(escaped: &str) {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b":_.-\\".contains(&byte);
    assert!(escaped.bytes().all(is_safe), "{escaped:?}");
    assert!(!escaped.starts_with('.') && escaped.len() <= 238, "{escaped:?}");
}
