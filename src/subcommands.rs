//! `sudospawner check`, `sudoers` and `policy`: for the people who set a machine up.
//!
//! sudoers permits this program with any arguments, so that a Hub can ask for these as well. Check 10 of
//! docs/security.md: before anything else, a process that sudo made root for somebody becomes that somebody
//! again, for good. Nothing here is done as root unless root itself has called.

mod words;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use log::LevelFilter;
use nix::unistd::geteuid;

use crate::account::{Account, Caller};
use crate::check::{
    Question, become_account, find_dialect, look_at_machine, read_policy_text, render,
};
use crate::diagnostics;
use crate::policy::Mode;
use crate::policy::file::Policy;
use crate::reply;
use crate::sudoers_fragment::{Fragment, Whom};
use crate::trusted_file::{check_trusted, open_trusted};
use words::Words;

/// The example that `policy` prints.
const EXAMPLE: &str = include_str!("../sudoers/policy.toml");

/// The exit status for a command line that is wrong, and for callers that cannot be told.
const REFUSED: u8 = 2;

/// If the first word of the command line is a subcommand, carries it out. Nothing happens otherwise.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let run = match words.next()?.to_str()? {
        "check" => run_check,
        "sudoers" => run_sudoers,
        "policy" => run_policy,
        _ => return None,
    };
    diagnostics::start_logging("sudospawner", LevelFilter::Info);
    let outcome = become_caller().and_then(|()| run(Words::read(words)?));
    Some(outcome.unwrap_or_else(|sentence| {
        log::error!("{sentence}");
        ExitCode::from(REFUSED)
    }))
}

/// Gives up what sudo gave: this process is then who called, for good.
fn become_caller() -> Result<(), String> {
    let caller = Caller::identify().map_err(|error| error.to_string())?;
    if !geteuid().is_root() || caller.uid.is_root() {
        return Ok(());
    }
    let account = Account::by_uid(caller.uid);
    let account = account.ok_or_else(|| format!("uid {} has no account", caller.uid))?;
    become_account(&account)?;
    log::info!(
        "this is done as {}, who called, and not as root; for root itself, put `env -u SUDO_UID` in front",
        account.name
    );
    Ok(())
}

fn run_check(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("subcommands/check.txt"));
    }
    let in_json = words.take_switch("json")?;
    let question = Question {
        users: words.take_all("user"),
        own_account_only: words.take_switch("self")?,
        hub_user: words.take("hub-user")?,
        mode: words.take("mode")?.map(|mode| parse_mode(&mode)).transpose()?,
        unit: words.take("unit")?,
        path: words.take("path")?.map(PathBuf::from),
        pam: words.take("pam")?.map(|answer| parse_answer(&answer)).transpose()?,
    };
    words.expect_end()?;
    if let Some(name) = question.users.iter().find(|name| name.starts_with(['-', '#', '+'])) {
        return Err(format!("{name:?} is no name of an account"));
    }
    let report = look_at_machine(&question)?;
    if in_json {
        let text = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        show(&format!("{text}\n"))?;
    } else {
        let in_terminal = nix::unistd::isatty(reply::descriptor()).unwrap_or(false);
        show(&render(&report, in_terminal))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_sudoers(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("subcommands/sudoers.txt"));
    }
    let hub_user = words.take("hub-user")?.ok_or("--hub-user names the account of the Hub")?;
    let mode = words.take("mode")?.map(|mode| parse_mode(&mode)).transpose()?;
    let whom = match (mode, words.take("group")?, words.take("users")?) {
        (Some(Mode::Root), None, None) => Whom::Root,
        (Some(Mode::Root), ..) => {
            return Err(
                "in root mode the policy says who may have a server, not sudoers".to_owned()
            );
        }
        (_, Some(group), None) => Whom::Group(group),
        (_, None, Some(users)) => Whom::Users(users.split(',').map(str::to_owned).collect()),
        _ => return Err("who may have servers? Give either --group or --users".to_owned()),
    };
    words.expect_end()?;
    let program = std::fs::read_link("/proc/self/exe").map_err(|error| error.to_string())?;
    let fragment = Fragment { program, hub_user, whom, dialect: find_dialect() };
    fragment.check()?;
    if let Err(distrust) = check_trusted(&fragment.program) {
        log::warn!("do not install these rules yet: {distrust}");
    }
    show(&fragment.render())
}

fn run_policy(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("subcommands/policy.txt"));
    }
    let file = words.take("check")?;
    words.expect_end()?;
    match file {
        None => show(EXAMPLE),
        Some(file) => check_policy(Path::new(&file)),
    }
}

/// Says whether a file is a policy, and warns if it would not be trusted where it is.
fn check_policy(file: &Path) -> Result<ExitCode, String> {
    let shown = file.display();
    if let Err(reason) = read_policy_text(file).and_then(|text| Policy::parse(&text)) {
        log::error!("{shown} is no policy: {reason}");
        return Ok(ExitCode::FAILURE);
    }
    let absolute = std::path::absolute(file).map_err(|error| error.to_string())?;
    if let Err(distrust) = open_trusted(&absolute) {
        log::warn!("here it would not be trusted: {distrust}");
    }
    show(&format!("{shown} is a policy\n"))
}

fn parse_mode(mode: &str) -> Result<Mode, String> {
    match mode {
        "user" => Ok(Mode::User),
        "root" => Ok(Mode::Root),
        _ => Err("--mode takes user or root".to_owned()),
    }
}

fn parse_answer(answer: &str) -> Result<bool, String> {
    match answer {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err("--pam takes yes or no".to_owned()),
    }
}

fn show(text: &str) -> Result<ExitCode, String> {
    reply::write_text(text).map_err(|error| format!("stdout: {error}"))?;
    Ok(ExitCode::SUCCESS)
}
