//! `sudospawner check`, `sudoers`, `policy` and `socket`, for administrators, `profiles` and `jobs`, for the Hub.
//!
//! The mediator becomes the account that called and executes this program, so nothing here runs as root
//! unless root itself has called. No sudo rule permits this program.

pub mod check;
mod mediator;
mod quoting;
mod socket_units;
pub mod sudoers_fragment;
pub mod sudoers_name;
mod words;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ground::wire::{stdout_to_caller, write_text};
use nix::unistd::getuid;
use root::account::{Caller, Way, is_name};
use root::policy::file::Policy;
use root::trusted_file::{check_trusted, open_trusted};
use slurm::hub::{Jobs, Nodes, Offer};
use slurm::section::Section;
use target::mode::Mode;

use check::{
    Question, find_dialect, find_own, look_at_denied, look_at_machine, read_policy_text, render,
};
use mediator::find_mediator;
use socket_units::{render_service, render_socket};
use sudoers_fragment::{Fragment, Whom};
use words::Words;

/// The example that `policy` prints.
const EXAMPLE: &str = include_str!("../../sudoers/policy.toml");

/// The exit status for a wrong command line, or if the caller is unknown.
const REFUSED: u8 = 2;

/// The text of `--help`.
const HELP: &str = include_str!("help/setup.txt");

/// Carries out a command line, without the program's name.
#[must_use]
pub fn carry_out(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut words = words.into_iter();
    let subcommand = words.next().and_then(|word| word.into_string().ok()).unwrap_or_default();
    let run = match subcommand.as_str() {
        "check" => run_check,
        "sudoers" => run_sudoers,
        "policy" => run_policy,
        "socket" => run_socket,
        "profiles" => run_profiles,
        "jobs" => run_jobs,
        "--help" => |_| show(HELP),
        "--version" => |_| show(concat!("sudospawner-rs ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => |_| {
            Err("the first word has to be check, sudoers, policy, socket, profiles or jobs; see --help"
                .to_owned())
        },
    };
    log_who_called();
    Words::read(words).and_then(run).unwrap_or_else(|sentence| {
        log::error!("{sentence}");
        ExitCode::from(REFUSED)
    })
}

/// Says which account this runs as, where people may expect root.
fn log_who_called() {
    let own = getuid();
    let is_caller = Caller::identify().is_ok_and(|caller| caller.uid == own);
    if !is_called_by_sudo() || !is_caller || own.is_root() {
        return;
    }
    if let Ok(Some(account)) = find_own() {
        log::info!(
            "this is done as {}, who called, and not as root; for root itself, put `env -u SUDO_UID` in front",
            account.name
        );
    }
}

fn is_called_by_sudo() -> bool {
    std::env::var_os("SUDO_UID").is_some()
}

fn run_check(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/check.txt"));
    }
    let in_json = words.take_switch("json")?;
    let question = Question {
        users: words.take_all("user"),
        own_account_only: words.take_switch("self")?,
        hub_user: words.take("hub-user")?,
        called: words.take("mode")?.map(|mode| parse_call(&mode)).transpose()?,
        socket: words.take("socket")?.map(PathBuf::from),
        unit: words.take("unit")?,
        path: words.take("path")?.map(PathBuf::from),
        is_deep: words.take_switch("deep")?,
        pam: words.take("pam")?.map(|answer| parse_answer(&answer)).transpose()?,
    };
    words.expect_end()?;
    if let Some(name) = question.users.iter().find(|name| !is_name(name)) {
        return Err(format!("{name:?} is no name of an account"));
    }
    let report = look_at_machine(&question)?;
    if in_json {
        show_in_json(&report)?;
    } else {
        let in_terminal = nix::unistd::isatty(stdout_to_caller()).unwrap_or(false);
        show(&render(&report, in_terminal))?;
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_sudoers(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/sudoers.txt"));
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
    let program = find_mediator();
    let fragment = Fragment { program, hub_user, whom, dialect: find_dialect() };
    let rules = fragment.render()?;
    for name in fragment.list_unknown() {
        log::warn!("the account database does not know {name:?}, or does not answer");
    }
    if let Err(distrust) = check_trusted(&fragment.program) {
        log::warn!("do not install these rules yet: {distrust}");
    }
    show(&rules)
}

fn run_policy(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/policy.txt"));
    }
    let file = words.take("check")?;
    words.expect_end()?;
    match file {
        None => show(EXAMPLE),
        Some(file) => check_policy(Path::new(&file)),
    }
}

/// Prints a unit for a Hub that calls without sudo.
fn run_socket(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/socket.txt"));
    }
    let (group, is_service) = (words.take("group")?, words.take_switch("service")?);
    words.expect_end()?;
    match (group, is_service) {
        (Some(group), false) => show(&render_socket(&group)?),
        (None, true) => {
            let door = find_mediator().with_file_name("sudospawner-door");
            if let Err(distrust) = check_trusted(&door) {
                log::warn!("do not install this unit yet: {distrust}");
            }
            show(&render_service(&door)?)
        }
        _ => Err("which unit? Give either --group or --service".to_owned()),
    }
}

/// Prints the launcher of the policy, and the profiles that people, or one of them, may choose.
fn run_profiles(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/profiles.txt"));
    }
    let user = words.take("user")?;
    words.expect_end()?;
    let offer = Offer::find(user.as_deref()).map_err(|error| error.to_string())?;
    show_in_json(&offer)
}

/// Prints what the queue says of the jobs on stdin, or where the nodes are.
fn run_jobs(mut words: Words) -> Result<ExitCode, String> {
    if words.take_switch("help")? {
        return show(include_str!("help/jobs.txt"));
    }
    let with_addresses = words.take_switch("address")?;
    let of_nodes = words.take_switch("nodes")?;
    words.expect_end()?;
    let shown = if of_nodes {
        Nodes::find().map(|nodes| show_in_json(&nodes))
    } else {
        Jobs::find(std::io::stdin().lock(), with_addresses).map(|jobs| show_in_json(&jobs))
    };
    match shown {
        Ok(shown) => shown,
        Err(error) => {
            let (code, _) = error.classify();
            let said = serde_json::json!({"ok": false, "code": code, "error": error.to_string()});
            show_in_json(&said).map(|_| ExitCode::FAILURE)
        }
    }
}

fn show_in_json(value: &impl serde::Serialize) -> Result<ExitCode, String> {
    let text = serde_json::to_string(value).map_err(|error| error.to_string())?;
    show(&format!("{text}\n"))
}

/// Says whether a file is a policy, and warns if it would not be trusted at its path.
fn check_policy(file: &Path) -> Result<ExitCode, String> {
    let shown = file.display();
    let policy = match read_policy_text(file).and_then(|text| {
        Section::parse(&text)?;
        Policy::parse(&text)
    }) {
        Ok(policy) => policy,
        Err(reason) => {
            log::error!("{shown} is no policy: {reason}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for finding in look_at_denied(&policy) {
        log::warn!("here {}", finding.sentence);
    }
    if let Some(Err(distrust)) = policy.accounts.create.as_deref().map(open_trusted) {
        log::warn!("here no account would be made (accounts.create): {distrust}");
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

/// The mode, and how the Hub calls in it.
fn parse_call(mode: &str) -> Result<(Mode, Way), String> {
    match mode {
        "socket" => Ok((Mode::Root, Way::Socket)),
        _ => parse_mode(mode)
            .map(|mode| (mode, Way::Command))
            .map_err(|_| "--mode takes user, root or socket".to_owned()),
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
    write_text(text).map_err(|error| format!("stdout: {error}"))?;
    Ok(ExitCode::SUCCESS)
}
