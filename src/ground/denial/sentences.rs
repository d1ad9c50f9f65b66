//! What people read of a denial, and what to do about it.

use std::fmt::{Display, Formatter, Result};

use super::{Denial, POLICY_PATH};

impl std::error::Error for Denial {}

impl Display for Denial {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::CallerUnknown(reason) => write!(f, "the caller is unknown: {reason}"),
            Self::CallerNotPermitted { uid } => write!(
                f,
                "the account with uid {uid} may not call root mode: add it to hub_users in the policy if it is the Hub's"
            ),
            Self::PolicyMissing => write!(f, "root mode needs the policy file {POLICY_PATH}"),
            Self::PolicyUntrusted(reason) => write!(f, "the policy file is not trusted: {reason}"),
            Self::PolicyUnreadable { path, errno } => write!(
                f,
                "{} cannot be read: {}; its mode is 0644, and its directories are open to all",
                path.display(),
                errno
            ),
            Self::PolicyMalformed { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::BinarySetuid => write!(
                f,
                "this program's file has a setuid or setgid bit: remove it (chmod ug-s), and call the program through sudo"
            ),
            Self::BinaryUntrusted(reason) => {
                write!(f, "this program's own file is not trusted: {reason}")
            }
            Self::AccountTimeout => f.write_str(
                "the account database has not answered: look at the directory service that nsswitch.conf names (`getent passwd NAME` waits for it, too)",
            ),
            // NSS answers in the same way when a directory does not answer.
            Self::TargetUnknown { asked } => write!(
                f,
                "the account database has no account with {asked}: check it with `id`; if accounts come from a directory, it may not answer"
            ),
            Self::AccountNotCreated { name, reason } => {
                write!(f, "no account {name:?} could be made: {reason}")
            }
            Self::AccountsTooMany { name, per_minute } => write!(
                f,
                "no account {name:?} is made now: {per_minute} were tried within a minute, the most that accounts.per_minute allows; try again in a minute"
            ),
            Self::TargetNotPermitted { target, reason } => {
                write!(f, "{target} may not have a server: {reason}")
            }
            Self::HookFailed { name } => write!(
                f,
                "the hook {name} did not succeed, so the server was not started (hooks.on_failure)"
            ),
            Self::HooksBusy { seconds } => write!(
                f,
                "hooks of another server of this account have been running for {seconds} seconds, and this one's cannot run at the same time (hooks.after_dir): try again, or look at what they wait for"
            ),
            Self::PamFailed { step, reason } => write!(
                f,
                "PAM has opened no session, so the server was not started: {step}: {reason}; look at the file of the service (server.pam_service) in /etc/pam.d, and at `journalctl -t sudospawner-session`"
            ),
            Self::ServerNameTooLong => f.write_str(
                "the server name is too long: escaped for a file name, it may have at most 238 bytes",
            ),
            Self::AlreadyRunning { unit, reason } => {
                write!(f, "the unit {unit} exists already: {reason}")
            }
            Self::LimitNotHeld { limit } => write!(
                f,
                "nothing holds a server to its limit of {limit} here: systemd has no control group with a controller for it (see /sys/fs/cgroup/cgroup.controllers, or /proc/cgroups on cgroup v1); have the kernel offer it, or take the limit away (in the policy's [limits], or the Hub's mem_limit and cpu_limit)"
            ),
            Self::LauncherUnavailable(reason) => write!(
                f,
                "servers cannot be started as units: {reason}; where systemd does not run, set server.launcher = \"process\" in the policy"
            ),
            Self::LineMalformed(reason) => write!(
                f,
                "the first line of a call through the socket has to be ACTION NAME, with at most 255 bytes: {reason}"
            ),
            Self::TooManyCalls => f.write_str(
                "this account has as many calls through the socket as it may have at once: call again when one has ended",
            ),
            Self::LauncherBesideDoor => f.write_str(
                "a Hub that calls through the socket cannot have servers as processes beside it: set server.launcher = \"systemd\" or \"slurm\" in the policy, or have the Hub call through sudo",
            ),
            Self::TargetIsRoot => f.write_str(
                "root is never a target: call this program as `sudo -nH -u USER …`, with the account whose server it is",
            ),
            Self::PrivilegesLeft(what) => write!(
                f,
                "privileges are left, or could not be given up ({what}): call this program through sudo, and give it no setuid bit and no capabilities"
            ),
            Self::LaunchFailed { step, errno } => {
                write!(f, "the server could not be launched: {step}: {errno}")
            }
            Self::CallerGone => f.write_str("the caller went away before the server was up"),
        }
    }
}
