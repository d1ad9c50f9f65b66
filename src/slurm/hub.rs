//! What the Hub's own account asks of policy and queue, without sudo.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::time::Duration;

use ground::units::Bytes;
use nix::unistd::{Gid, Group};
use root::account::Account;
use root::policy::file::{Launcher, Policy};
use serde::Serialize;
use target::request::about_job::JobId;

use crate::error::Error;
use crate::profile::Profile;
use crate::programs::Programs;
use crate::queue::{Which, find_address, list_addresses, list_jobs};
use crate::section::load_section;

/// The longest time for one call of Slurm's programs.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// How many jobs are asked about at once, and how long the list of their numbers may be, in bytes: less than the words
/// of a command line may have.
const MOST_JOBS: usize = 10_000;
const LONGEST_LIST: u64 = 100_000;

/// The launcher of the policy, and the profiles that users can choose from.
#[derive(Debug, Serialize)]
pub struct Offer {
    launcher: &'static str,
    profiles: Vec<Shown>,
}

/// What a profile gives.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    title: String,
    cpus: Option<u32>,
    memory: Option<u64>,
    time: Option<String>,
    partition: Option<String>,
    gres: Option<String>,
}

impl Offer {
    /// The offer for everybody, or what an account may choose of it.
    ///
    /// # Errors
    /// Those of a policy file, and [`Denial::TargetUnknown`](ground::denial::Denial::TargetUnknown).
    pub fn find(user: Option<&str>) -> Result<Self, Error> {
        let launcher = Policy::load()?.map_or(Launcher::Process, |policy| policy.server.launcher);
        let launcher = match launcher {
            Launcher::Process => "process",
            Launcher::Systemd => "systemd",
            Launcher::Slurm => "slurm",
        };
        let mut profiles =
            if launcher == "slurm" { load_section()?.1.profiles } else { Vec::new() };
        if let Some(name) = user.filter(|_| profiles.iter().any(|it| !it.groups.is_empty())) {
            let groups = find_groups(name)?;
            profiles.retain(|profile| is_for(profile, &groups));
        }
        let profiles = profiles.into_iter().map(|profile| Shown {
            title: profile.title().to_owned(),
            name: profile.name,
            cpus: profile.cpus.map(Into::into),
            memory: profile.memory.map(|Bytes(bytes)| bytes),
            time: profile.time,
            partition: profile.partition,
            gres: profile.gres,
        });
        Ok(Self { launcher, profiles: profiles.collect() })
    }
}

fn find_groups(name: &str) -> Result<Vec<Gid>, Error> {
    let unknown = || ground::denial::Denial::TargetUnknown { asked: format!("the name {name:?}") };
    let account = Account::by_name(name).ok_or_else(unknown)?;
    account.list_groups(account.gid).map_err(Error::at("getgrouplist"))
}

/// Whether somebody with these groups may choose the profile.
#[must_use]
pub fn is_for(profile: &Profile, groups: &[Gid]) -> bool {
    let is_own = |name: &String| matches!(Group::from_name(name), Ok(Some(group)) if groups.contains(&group.gid));
    profile.groups.is_empty() || profile.groups.iter().any(is_own)
}

/// What squeue says of a Hub's jobs.
#[derive(Debug, Serialize)]
pub struct Jobs {
    ok: bool,
    jobs: BTreeMap<String, State>,
}

/// What it says of one.
#[derive(Debug, Serialize)]
struct State {
    uid: u32,
    state: String,
    started: String,
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
}

impl Jobs {
    /// Asks about the jobs whose numbers are the lines of the input, in one call. With `addresses`, also for the addresses
    /// of their nodes.
    ///
    /// # Errors
    /// [`Failure`](crate::programs::Failure); [`Error::NoJobs`] for input of another form.
    pub fn find(input: impl BufRead, addresses: bool) -> Result<Self, Error> {
        let lines = input.take(LONGEST_LIST).lines().map_while(Result::ok);
        let ids = lines.map(|line| JobId::parse(line.trim())).collect::<Option<Vec<JobId>>>();
        let ids = ids.filter(|ids| ids.len() <= MOST_JOBS).ok_or(Error::NoJobs)?;
        let (_, section) = load_section()?;
        let programs = Programs::find(&section);
        let found = match ids.is_empty() {
            true => Vec::new(),
            false => list_jobs(&programs, Which::These(&ids), LONGEST_CALL)?,
        };
        let mut jobs = BTreeMap::new();
        for job in found {
            let node = job.host.as_ref().filter(|_| addresses && job.is_alive());
            let address = node.map(|node| find_address(&programs, node, LONGEST_CALL));
            let (id, uid) = (job.id.to_string(), job.uid.as_raw());
            let state = State {
                uid,
                address: address.transpose()?,
                state: job.state,
                started: job.started,
                host: job.host,
            };
            // The tasks of an array have the number of the array. None of them is a server's job.
            jobs.entry(id).or_insert(state);
        }
        Ok(Self { ok: true, jobs })
    }
}

/// Where the nodes of the cluster are.
#[derive(Debug, Serialize)]
pub struct Nodes {
    ok: bool,
    nodes: Vec<String>,
}

impl Nodes {
    /// Asks for the addresses of all nodes.
    ///
    /// # Errors
    /// [`Failure`](crate::programs::Failure), and those of a policy file.
    pub fn find() -> Result<Self, Error> {
        let (_, section) = load_section()?;
        let nodes = list_addresses(&Programs::find(&section), LONGEST_CALL)?;
        Ok(Self { ok: true, nodes })
    }
}
