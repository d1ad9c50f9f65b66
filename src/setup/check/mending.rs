//! Remedies for what an account has reported about its own server. Root finds the remedy by its own look, whatever
//! the account says, and changes nothing on a path where others could have placed something.

use ground::mounts::find_mount_with;
use std::io::Read;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::policy;
use super::remedy::{End, Way, mend_as_owner, quote, restore_trust, run_as, run_as_owner, walk};
use super::scene::{Scene, server_directory};
use super::viewpoint::SHOW_MOUNTS;
use ground::script::read_interpreter_of;
use root::account::Account;
use root::policy::reading::POLICY_PATH;
use root::trusted_file::program::open_trusted_program;
use root::trusted_file::{TrustedDirectory, open_trusted};
use target::server::SIBLINGS;

/// What mends a code of `hearsay`, if root sees the same problem.
pub fn find_remedy(code: &str, account: &Account, scene: &Scene) -> Option<String> {
    let directory = server_directory(&scene.own, scene.policy.as_ref());
    let mut servers = SIBLINGS.iter().map(|name| directory.join(name));
    match code {
        "home_missing" | "home_closed" => mend_home(account),
        "home_unresponsive" | "server_unresponsive" => Some(SHOW_MOUNTS.to_owned()),
        "binary_closed" => open_to(account, &scene.own, "a+x"),
        "policy_unreadable" => Some(policy::open_to_all()),
        "server_missing" => install_server(&directory),
        "server_untrusted" => {
            servers.find_map(|path| restore_trust(&open_trusted_program(&path).err()?))
        }
        "server_not_executable" => servers.find_map(|path| open_to(account, &path, "a+rx")),
        "interpreter" => servers.find_map(|path| mend_interpreter(account, &path)),
        _ => None,
    }
}

/// The home is the account's own. What is above it must be root's.
fn mend_home(account: &Account) -> Option<String> {
    let (user, group) = (quote(&account.name), account.gid);
    let mut way = walk(&account.home);
    if matches!(way.end, End::There(_)) {
        way.passed.pop();
    }
    if let Some(command) = open_directory(account, &way) {
        return Some(command);
    }
    let home = match way.end {
        End::Missing => {
            let home = quote(&account.home);
            return Some(format!("mkdir -p -m 0700 {home} && chown {user}:{group} {home}"));
        }
        End::There(home) | End::Theirs { at: home, is_last: true, .. } => home,
        End::Theirs { .. } | End::Unknown => return None,
    };
    // An account without its own home has the machine's `/` or `/bin`.
    let is_own = home.is_dir() && home.components().count() > 2;
    let home = Some(home).filter(|_| is_own).map(quote)?;
    Some(format!("chown {user} {home} && chmod u+rwx {home}"))
}

/// Opens the first directory on a path that is closed to an account.
fn open_directory(account: &Account, way: &Way) -> Option<String> {
    way.passed.iter().find_map(|step| {
        let bit = step.find_lacking(account)?;
        Some(format!("chmod {bit} {}", quote(&step.path)))
    })
}

/// What lets an account execute a file. `mode` is for the file itself.
fn open_to(account: &Account, path: &Path, mode: &str) -> Option<String> {
    let mut way = walk(path);
    let file = if matches!(way.end, End::There(_)) { way.passed.pop() } else { None };
    if let Some(command) = open_directory(account, &way) {
        return Some(command);
    }
    match (way.end, file) {
        (End::There(real), Some(file)) => {
            if file.find_lacking(account).is_some() {
                return Some(format!("chmod {mode} {}", quote(&real)));
            }
            let place = find_mount_with(&real, "noexec")?;
            Some(format!("mount -o remount,bind,exec {}", quote(&place)))
        }
        (End::Theirs { owner, .. }, _) => {
            run_as(Uid::from_raw(owner), &format!("chmod {mode} {}", quote(path)))
        }
        _ => None,
    }
}

/// What gives a server an interpreter. Reads only what root alone can have written.
fn mend_interpreter(account: &Account, path: &Path) -> Option<String> {
    let (mut file, _) = open_trusted(path).ok()?;
    let mut head = [0; 4];
    file.read_exact(&mut head).ok()?;
    if &head == b"\x7fELF" {
        return None;
    }
    let Some(interpreter) = read_interpreter_of(path) else {
        return Some(format!("sed -i '1i #!/bin/sh' {}", quote(path)));
    };
    if walk(&interpreter).end != End::Missing {
        return open_to(account, &interpreter, "a+rx");
    }
    // An environment that has lost its Python. Usually the machine has a new Python by now.
    let environment = path.ancestors().nth(2).unwrap_or(Path::new("/"));
    if !interpreter.starts_with(environment) {
        return install_server(path.parent()?);
    }
    let (link, shown) = (quote(&interpreter), quote(environment));
    let upgrade =
        format!("rm -f {link} && /usr/bin/python3 -m venv --upgrade --without-pip {shown}");
    run_as_owner(&[&interpreter, &environment.join("lib")], &upgrade)
}

/// What gives a directory its servers: JupyterHub is reinstalled if the directory belongs to a virtual
/// environment. Otherwise the policy gets the name of the environment that has them.
fn install_server(directory: &Path) -> Option<String> {
    let environment = directory.parent().unwrap_or(Path::new("/"));
    match walk(directory).end {
        End::Theirs { owner, .. } => {
            return run_as(Uid::from_raw(owner), &reinstall(&environment.join("bin/python3")));
        }
        End::Unknown => return restore_trust(&TrustedDirectory::open(directory).err()?),
        End::There(_) | End::Missing => {}
    }
    if environment.join("pyvenv.cfg").exists() {
        return Some(install_jupyterhub(environment));
    }
    let Some(servers) = find_servers() else {
        return Some(format!(
            "/usr/bin/python3 -m venv {USUAL} && {USUAL}/bin/pip install jupyterhub jupyterlab"
        ));
    };
    let line = quote(format!("/^\\[server\\]/a directory = \"{}\"", servers.display()));
    Some(format!(
        "mkdir -p /etc/sudospawner && touch {POLICY_PATH} && {{ grep -q '^\\[server\\]' {POLICY_PATH} || \
         printf '\\n[server]\\n' >>{POLICY_PATH}; }} && \
         sed -i -e '/^ *directory *=/d' -e {line} {POLICY_PATH}"
    ))
}

/// Where a Hub's environment should be, if there is none.
const USUAL: &str = "/opt/jupyterhub";

/// The first directory on the PATH, or the usual one, with a server that only root can change.
fn find_servers() -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let directories = path.split(':').map(PathBuf::from).chain([Path::new(USUAL).join("bin")]);
    let has_server = |directory: &PathBuf| {
        SIBLINGS.iter().any(|name| open_trusted(&directory.join(name)).is_ok())
    };
    directories.into_iter().find(has_server)
}

/// Reinstalls JupyterHub into an environment with the environment's own Python, or creates the environment.
/// The account that can change either of them, or the modules, does so.
fn install_jupyterhub(environment: &Path) -> String {
    let python = environment.join("bin/python3");
    let (lib, pip) = (environment.join("lib"), environment.join("bin/pip"));
    if !pip.exists() || !python.exists() {
        let command = format!("/usr/bin/python3 -m venv {}", quote(environment));
        return mend_as_owner(environment, &command);
    }
    let command = reinstall(&python);
    run_as_owner(&[&python, &lib], &command).unwrap_or_else(|| mend_as_owner(&lib, &command))
}

fn reinstall(python: &Path) -> String {
    format!("{} -m pip install --force-reinstall --no-deps jupyterhub", quote(python))
}
