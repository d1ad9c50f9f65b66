//! What a look begins with: which accounts are meant, in which mode, and where the Hub runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, geteuid, getppid};

use super::accounts::{find_by_name, find_by_uid, find_group, list_groups, say_silent};
use super::apart::Silence;
use super::commands::ask;
use super::finding::{Area, Finding};
use super::hub_files::{Seen, Settings, look_at_files};
use super::hub_program::{HubProgram, find_unit_of};
use super::policy_file;
use super::properties::{find_usual, read_properties, read_user};
use super::sudo_listing::Listing;
use super::viewpoint::{LIMIT, look_apart, look_as, name_mount};
use crate::mediator::find_mediator;
use root::account::{Account, Way};
use root::policy::file::Policy;
use target::mode::Mode;

/// Where the socket is, if nothing else is said.
const USUAL_SOCKET: &str = "/run/sudospawner.socket";

/// What the command line asks for.
#[derive(Debug, Default)]
pub struct Question {
    /// The accounts whose servers are asked about. Without any, one that the rules permit.
    pub users: Vec<String>,
    /// Whether to look only at what concerns this process's account. The Hub asks for this through sudo.
    pub own_account_only: bool,
    /// The account of the Hub.
    pub hub_user: Option<String>,
    /// The mode that is meant, and how the Hub calls in it.
    pub called: Option<(Mode, Way)>,
    /// The Hub's `socket_path`.
    pub socket: Option<PathBuf>,
    /// The Hub's systemd unit.
    pub unit: Option<String>,
    /// The Hub's `sudospawner_path`.
    pub path: Option<PathBuf>,
    /// Whether the Hub authenticates through PAM.
    pub pam: Option<bool>,
    /// Whether a job may look at a node of the cluster.
    pub is_deep: bool,
}

impl Question {
    /// The mode that is meant; user mode if nothing says otherwise.
    pub fn mode(&self) -> Mode {
        self.called.map_or(Mode::User, |(mode, _)| mode)
    }
}

/// The account that this process looks as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewpoint {
    /// Root, which can look as any account.
    Root,
    /// The account of the Hub.
    Hub,
    /// Any other account, which only sees files.
    Other,
}

/// An account whose server is asked about.
#[derive(Debug)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// What the account database has of it.
    pub account: Result<Option<Account>, Silence>,
    /// Its groups, with their names if they have one; none without an account.
    pub groups: Result<Vec<(Gid, Option<String>)>, Silence>,
}

impl Asked {
    fn find(name: String) -> Self {
        let account = find_by_name(&name);
        let groups = match &account {
            Ok(Some(account)) => list_groups(account),
            _ => Ok(Vec::new()),
        };
        Self { name, account, groups }
    }
}

/// What a look begins with.
#[derive(Debug)]
pub struct Scene {
    /// The mediator's own file.
    pub own: PathBuf,
    /// The account that this process looks as.
    pub viewpoint: Viewpoint,
    /// The account of the Hub, if known.
    pub hub: Option<Account>,
    /// The groups of that account; none if it is not known.
    pub hub_groups: Result<Vec<Gid>, Silence>,
    /// The mode,
    pub mode: Mode,
    /// and how the Hub calls in it.
    pub way: Way,
    /// The socket, for a Hub that calls through one.
    pub socket: PathBuf,
    /// The policy, if only root can have written it and this account can read it.
    pub policy: Option<Policy>,
    /// The policy's text.
    pub policy_text: String,
    /// The accounts whose servers are asked about.
    pub targets: Vec<Asked>,
    /// What sudo lists as the Hub's rules.
    pub listing: Listing,
    /// The Hub's program.
    pub program: HubProgram,
    /// The Hub's unit.
    pub unit: Option<String>,
    /// What the Hub's account sees of the Hub's files.
    pub seen: Result<Seen, Silence>,
    /// The Hub's `sudospawner_path`, if known.
    pub path: Option<PathBuf>,
    /// Whether the Hub authenticates through PAM, if known.
    pub pam: Option<bool>,
    /// Whether the Hub's account is only assumed to be the account that runs this.
    pub hub_is_assumed: bool,
    /// What of all this is not known because the account database did not answer.
    pub silences: Vec<Finding>,
}

impl Scene {
    /// Finds out what it can.
    ///
    /// # Errors
    /// A sentence if the Hub's account does not exist.
    pub fn find(question: &Question) -> Result<Self, String> {
        let own = find_mediator();
        let (policy_text, policy) = policy_file::read();
        let mut silences = Vec::new();
        let mut hear = |answer: Result<Option<Account>, Silence>| {
            answer.unwrap_or_else(|silence| {
                silences.push(say_silent(Area::Hub, &silence, "passwd"));
                None
            })
        };
        let own_account = hear(find_by_uid(geteuid()));
        let named = find_hub_account(question, policy.as_ref(), own_account.as_ref(), &mut hear)?;
        let hub_is_assumed = named.is_none();
        let hub = named.or(own_account.filter(|account| !account.uid.is_root()));
        // Without its groups no process can become the account.
        let hub_groups = hub.as_ref().map_or(Ok(Vec::new()), list_groups);
        let hub_groups =
            hub_groups.map(|groups| groups.into_iter().map(|(gid, _)| gid).collect::<Vec<_>>());
        if let Err(silence) = &hub_groups {
            silences.push(say_silent(Area::Hub, silence, "group"));
        }
        let viewpoint = match &hub {
            _ if geteuid().is_root() => Viewpoint::Root,
            Some(hub) if hub.uid == geteuid() => Viewpoint::Hub,
            _ => Viewpoint::Other,
        };
        let program = find_program(question, hub.as_ref(), viewpoint);
        let seen = match &hub_groups {
            Ok(_) => look_as_hub(question, &own, hub.as_ref(), &program),
            Err(silence) => Err(silence.clone()),
        };
        let settings = seen.as_ref().map(|seen| &seen.settings).ok();
        let called = question.called.or(settings.and_then(Settings::called));
        let way = called.map_or(Way::Command, |(_, way)| way);
        let listing = match (&hub, viewpoint, &hub_groups) {
            _ if way == Way::Socket => Listing::default(),
            // sudo asks for them, too.
            (_, Viewpoint::Root | Viewpoint::Hub, Err(silence)) => {
                Listing::from_answer(Err(silence.clone()))
            }
            (Some(hub), Viewpoint::Root, _) => {
                Listing::from_answer(ask("sudo", &["-n", "-ll", "-U", &hub.name]))
            }
            (Some(_), Viewpoint::Hub, _) => Listing::from_answer(ask("sudo", &["-n", "-ll"])),
            _ => Listing::default(),
        };
        // Not from the policy: its rules for root mode may be there before the Hub uses root mode.
        let mode = called.map_or_else(|| listing.find_mode(&own), |(mode, _)| mode);
        let socket = question.socket.clone().or(settings.and_then(|said| said.socket.clone()));
        let path = question.path.clone().or(settings.and_then(|said| said.path.clone()));
        let pam = question.pam.or(settings.and_then(|said| said.pam));
        let unit = question.unit.clone().or_else(|| program.unit.clone());
        let mut scene = Self {
            own,
            viewpoint,
            hub,
            hub_groups,
            mode,
            way,
            socket: socket.unwrap_or_else(|| USUAL_SOCKET.into()),
            policy,
            policy_text,
            targets: question.users.iter().cloned().map(Asked::find).collect(),
            listing,
            program,
            unit: unit.or_else(find_usual),
            seen,
            path,
            pam,
            hub_is_assumed,
            silences,
        };
        if scene.targets.is_empty() {
            scene.targets.extend(scene.find_example().map(Asked::find));
        }
        Ok(scene)
    }

    /// The mode's name.
    pub fn mode_name(&self) -> &'static str {
        match (self.mode, self.way) {
            (_, Way::Socket) => "socket",
            (Mode::Root, Way::Command) => "root",
            (Mode::User, Way::Command) => "user",
        }
    }

    /// The groups whose members may have servers.
    pub fn permitted_groups(&self) -> Vec<String> {
        match (self.mode, &self.policy) {
            (Mode::Root, Some(policy)) => policy.targets.groups.clone(),
            (Mode::Root, None) => Vec::new(),
            (Mode::User, _) => self.listing.target_groups(&self.own),
        }
    }

    /// The accounts that may have servers whatever their groups.
    pub fn permitted_users(&self) -> Vec<String> {
        match (self.mode, &self.policy) {
            (Mode::Root, Some(policy)) => policy.targets.users.clone(),
            (Mode::Root, None) => Vec::new(),
            (Mode::User, _) => self.listing.target_users(&self.own),
        }
    }

    /// Whether sudo lets the Hub start a server for any account.
    pub fn permits_everyone(&self) -> bool {
        self.mode == Mode::User && self.listing.permits_everyone(&self.own)
    }

    /// Whether this is the name of the Hub's account.
    pub fn is_hub(&self, name: &str) -> bool {
        self.hub.as_ref().is_some_and(|hub| hub.name == name)
    }

    /// An account that the rules permit.
    fn find_example(&self) -> Option<String> {
        let denied = self.policy.iter().flat_map(|policy| &policy.targets.deny_groups);
        let denied: Vec<String> = denied.flat_map(|group| list_members(group)).collect();
        let is_example = |name: &String| !self.is_hub(name) && !denied.contains(name);
        self.list_permitted().into_iter().find(is_example)
    }

    /// How many accounts the rules permit, as far as the account database lists them.
    pub fn count_permitted(&self) -> usize {
        self.list_permitted().into_iter().collect::<BTreeSet<_>>().len()
    }

    fn list_permitted(&self) -> Vec<String> {
        let groups = self.permitted_groups();
        self.permitted_users()
            .into_iter()
            .chain(groups.iter().flat_map(|group| list_members(group)))
            .collect()
    }
}

/// How the Hub is called. Its own account believes its process, all others its unit.
fn find_program(question: &Question, hub: Option<&Account>, viewpoint: Viewpoint) -> HubProgram {
    let own = hub.filter(|_| viewpoint == Viewpoint::Hub).and_then(|hub| {
        // The command line of a process that waits in the kernel may not be readable.
        let starter = getppid();
        let find = || Some(HubProgram::find_own(hub.uid, starter));
        look_apart("what looks for the Hub's process", LIMIT, find).ok().flatten()
    });
    own.unwrap_or_else(|| {
        let unit = question.unit.clone().or_else(|| hub.and_then(find_unit_of));
        let unit = unit.or_else(find_usual);
        let known = unit.and_then(|unit| Some((read_properties(&unit).ok()?, unit)));
        known
            .map(|(of, unit)| HubProgram::of_unit(&unit, &of, hub))
            .unwrap_or_else(HubProgram::unknown)
    })
}

/// What the Hub's account sees of the Hub's files, if this process can become that account.
fn look_as_hub(
    question: &Question,
    own: &Path,
    hub: Option<&Account>,
    program: &HubProgram,
) -> Result<Seen, Silence> {
    let Some(hub) = hub.filter(|hub| !hub.uid.is_root()) else { return Ok(Seen::default()) };
    let (configuration, named) = (program.configuration.as_deref(), question.path.as_deref());
    let seen =
        look_as(hub, LIMIT, || look_at_files(own, configuration, named, &program.directories));
    let places = configuration.into_iter().chain(named);
    let places = places.chain(program.directories.iter().map(PathBuf::as_path));
    seen.map_err(|silence| places.fold(silence, name_mount))
}

/// Where the server executables are: where the policy says, otherwise beside the mediator.
pub fn server_directory(own: &Path, policy: Option<&Policy>) -> PathBuf {
    policy
        .and_then(|policy| policy.server.directory.clone())
        .unwrap_or_else(|| own.parent().unwrap_or(Path::new("/")).to_owned())
}

/// The account of the Hub, according to the command line, the policy or the unit jupyterhub.service. A
/// process with a Hub's name proves nothing, since anyone can start one.
fn find_hub_account(
    question: &Question,
    policy: Option<&Policy>,
    own: Option<&Account>,
    hear: &mut impl FnMut(Result<Option<Account>, Silence>) -> Option<Account>,
) -> Result<Option<Account>, String> {
    if let Some(name) = &question.hub_user {
        let answer = find_by_name(name);
        if answer == Ok(None) {
            return Err(format!("there is no account named {name:?}"));
        }
        return Ok(hear(answer));
    }
    let names = policy.map(|policy| policy.hub_users.as_slice()).unwrap_or_default();
    if let Some(own) = own.filter(|own| names.contains(&own.name)) {
        return Ok(Some(own.clone()));
    }
    let of_policy = names.iter().find_map(|name| hear(find_by_name(name)));
    let of_unit = || read_user("jupyterhub.service").and_then(|name| hear(find_by_name(&name)));
    Ok(of_policy.or_else(of_unit))
}

/// The members that the account database lists.
fn list_members(group: &str) -> Vec<String> {
    find_group(group).ok().flatten().map(|group| group.members).unwrap_or_default()
}
