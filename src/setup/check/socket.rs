//! The socket of a Hub that calls without sudo: who may connect, what listens, and what a real call results in.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Gid;
use serde_json::Value;

use super::accounts::find_group_by_gid;
use super::finding::{Area, Finding, Level};
use super::hearsay::show_words;
use super::policy::set_key;
use super::properties::{is_loaded, read_properties};
use super::remedy::{quote, restore_trust};
use super::scene::{Scene, Viewpoint};
use super::sudo_call::HARMLESS;
use super::viewpoint::{look_as, look_at};
use root::account::{Account, Way};
use root::policy::file::{Launcher, Policy};
use root::trusted_file::check_trusted;

const SOCKET_UNIT: &str = "sudospawner.socket";
const SERVICE: &str = "sudospawner.service";
const UNITS: &str = "/etc/systemd/system";
const READ_LOG: &str =
    "journalctl --no-pager --boot --lines=50 --unit=sudospawner.service --unit=sudospawner.socket";
/// How long a real call may take: the account database answers within 30 seconds, or not at all.
const LIMIT: Duration = Duration::from_secs(40);
/// How much of a reply is read, in bytes.
const LONGEST_REPLY: u64 = 64 * 1024;

/// Looks at the socket, at the door behind it, and makes a real call, if the Hub calls in this way. `others` are the
/// findings so far: if they explain why the call fails, that is not another problem.
pub fn look(scene: &Scene, others: &[Finding]) -> Vec<Finding> {
    if scene.way != Way::Socket {
        return Vec::new();
    }
    let mut findings = vec![look_at_door(scene)];
    findings.extend(look_at_socket(scene));
    findings.extend(scene.policy.as_ref().map(|policy| judge_launcher(policy, scene)));
    let is_explained = findings.iter().chain(others).any(|finding| finding.level == Level::Problem);
    findings.extend(call_really(scene, is_explained));
    findings
}

fn judge_launcher(policy: &Policy, scene: &Scene) -> Finding {
    let code = "socket_launcher";
    if !matches!(policy.server.launcher, Launcher::Process) {
        return Finding::ok(Area::Socket, code, "servers are no processes beside the Hub");
    }
    let sentence = "servers cannot be processes beside a Hub that calls through the socket: no server is started";
    let remedy = set_key(&scene.policy_text, "server", "launcher", "\"systemd\"");
    Finding::problem(Area::Socket, code, sentence, remedy)
}

/// The command that installs both units, for the group of the Hub's account.
fn install(scene: &Scene) -> String {
    let (own, group) = (quote(&scene.own), quote(name_group(scene)));
    format!(
        "{own} socket --group={group} >{UNITS}/{SOCKET_UNIT} && {own} socket --service \
         >{UNITS}/{SERVICE} && systemctl daemon-reload && systemctl enable --now {SOCKET_UNIT}"
    )
}

fn name_group(scene: &Scene) -> String {
    let gid = scene.hub.as_ref().map(|hub| hub.gid);
    let group = gid.and_then(|gid| find_group_by_gid(gid).ok().flatten());
    group.map_or_else(|| "rhea".to_owned(), |group| group.name)
}

/// Whether systemd would start this mediator's own door.
fn look_at_door(scene: &Scene) -> Finding {
    let code = "door";
    let door = scene.own.with_file_name("sudospawner-door");
    let problem = |sentence: String| Finding::problem(Area::Socket, code, sentence, install(scene));
    if let Err(distrust) = check_trusted(&door) {
        let show = || format!("namei --long {}", quote(&door));
        let remedy = restore_trust(&distrust).unwrap_or_else(show);
        return Finding::problem(Area::Socket, code, distrust.to_string(), remedy);
    }
    let properties = match read_properties(SERVICE) {
        Ok(properties) if is_loaded(&properties) => properties,
        Ok(_) => return problem(format!("systemd knows no unit {SERVICE}")),
        Err(silence) => {
            return Finding::warning(Area::Socket, code, silence.to_string(), None);
        }
    };
    let start = properties.get("ExecStart").map(String::as_str).unwrap_or_default();
    if start.contains(&format!("path={} ;", door.display())) {
        return Finding::ok(Area::Socket, code, format!("{SERVICE} executes {}", door.display()));
    }
    problem(format!(
        "{SERVICE} does not execute {}: it belongs to another installation",
        door.display()
    ))
}

/// Who may connect.
fn look_at_socket(scene: &Scene) -> Vec<Finding> {
    let path = scene.socket.as_path();
    let seen = look_at(path, || {
        let file = fs::symlink_metadata(path).ok()?;
        Some((file.file_type().is_socket(), file.mode() & 0o777, file.gid()))
    });
    let shown = path.display();
    let (mode, gid) = match seen {
        Err(silence) => {
            return vec![Finding::warning(Area::Socket, "socket", silence.to_string(), None)];
        }
        Ok(Some((true, mode, gid))) => (mode, Gid::from_raw(gid)),
        Ok(_) => {
            let sentence = format!("there is no socket at {shown}");
            let is_known = read_properties(SOCKET_UNIT).is_ok_and(|unit| is_loaded(&unit));
            let start = format!("systemctl enable --now {SOCKET_UNIT}");
            let remedy = if is_known { start } else { install(scene) };
            return vec![Finding::problem(Area::Socket, "socket", sentence, remedy)];
        }
    };
    let mut findings = vec![Finding::ok(Area::Socket, "socket", format!("the socket is {shown}"))];
    findings.push(if mode & 0o007 == 0 {
        Finding::ok(Area::Socket, "socket_mode", format!("its mode is {mode:04o}"))
    } else {
        let sentence = format!(
            "everybody may connect to {shown}, mode {mode:04o}: only hub_users refuses them"
        );
        let remedy = Some(add_to_socket("mode", "SocketMode=0660"));
        Finding::warning(Area::Socket, "socket_mode", sentence, remedy)
    });
    if let (Some(hub), Ok(groups)) = (&scene.hub, &scene.hub_groups) {
        let may_connect = mode & 0o006 == 0o006
            || mode & 0o060 == 0o060 && (hub.gid == gid || groups.contains(&gid));
        findings.push(if may_connect {
            let sentence = format!("{} may connect", hub.name);
            Finding::ok(Area::Socket, "socket_group", sentence)
        } else {
            let sentence =
                format!("{} may not connect to {shown}: it is not in its group", hub.name);
            let line = format!("SocketGroup={}", name_group(scene));
            let remedy = add_to_socket("group", &line);
            Finding::problem(Area::Socket, "socket_group", sentence, remedy)
        });
    }
    findings
}

/// Sets a line of the socket's unit. Calls that run go on.
fn add_to_socket(name: &str, line: &str) -> String {
    let folder = format!("{UNITS}/{SOCKET_UNIT}.d");
    let text = quote(format!("[Socket]\n{line}\n"));
    format!(
        "mkdir -p {folder} && printf %s {text} >{folder}/zz-sudospawner-{name}.conf && systemctl \
         daemon-reload && systemctl restart {SOCKET_UNIT}"
    )
}

/// Makes calls as the Hub does, for each account that is asked about.
fn call_really(scene: &Scene, is_explained: bool) -> Vec<Finding> {
    let Some(hub) = scene.hub.as_ref().filter(|hub| !hub.uid.is_root()) else { return Vec::new() };
    if scene.viewpoint == Viewpoint::Other || scene.hub_groups.is_err() {
        return Vec::new();
    }
    let targets = scene.targets.iter().filter(|asked| matches!(asked.account, Ok(Some(_))));
    targets.map(|asked| call_for(scene, hub, &asked.name, is_explained)).collect()
}

fn call_for(scene: &Scene, hub: &Account, target: &str, is_explained: bool) -> Finding {
    let code = "socket_call";
    let said = look_as(hub, LIMIT, || call(&scene.socket, target).unwrap_or_default());
    let failed = |sentence: String| match is_explained {
        true => Finding::warning(Area::Socket, code, sentence, None),
        false => Finding::problem(Area::Socket, code, sentence, READ_LOG),
    };
    let text = match said {
        Ok(text) => text,
        Err(silence) => return failed(format!("a call for {target} was not answered: {silence}")),
    };
    let Ok(reply) = serde_json::from_str::<Value>(text.trim()) else {
        return failed(format!("a call for {target} as {} was not answered", hub.name));
    };
    if reply.get("ok").and_then(Value::as_bool) == Some(true) {
        let sentence = format!("a real call as {} for {target} was answered", hub.name);
        return Finding::ok(Area::Socket, code, sentence);
    }
    let error = reply.get("error").and_then(Value::as_str).unwrap_or("no reason");
    failed(format!(
        "a call for {target}, as {} sees it, was refused: {}",
        hub.name,
        show_words(error)
    ))
}

/// Makes one call, and returns what comes back.
fn call(path: &Path, target: &str) -> std::io::Result<String> {
    let mut connection = UnixStream::connect(path)?;
    connection.write_all(format!("kill {target}\n{HARMLESS}").as_bytes())?;
    connection.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    connection.take(LONGEST_REPLY).read_to_string(&mut text)?;
    Ok(text)
}
