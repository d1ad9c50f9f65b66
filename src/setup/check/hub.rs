//! The account of the Hub.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::Gid;

use super::accounts::find_group_by_gid;
use super::finding::{Area, Finding};
use super::remedy::quote;
use super::scene::Scene;
use root::account::{Account, parse_id};

/// Looks at the account of the Hub.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let Some(hub) = &scene.hub else {
        let own = quote(&scene.own);
        return vec![Finding::warning(
            Area::Hub,
            "hub_user",
            "the Hub's account is not known: name it with --hub-user",
            Some(format!("{own} check --hub-user rhea")),
        )];
    };
    if hub.uid.is_root() {
        return vec![Finding::warning(
            Area::Hub,
            "hub_user",
            "the Hub runs as root, and needs no sudospawner: give it an account of its own",
            None,
        )];
    }
    let assumed =
        if scene.hub_is_assumed { ": who runs this, --hub-user names another" } else { "" };
    let sentence = format!("the Hub's account is {}, uid {}{assumed}", hub.name, hub.uid);
    let mut findings = vec![Finding::ok(Area::Hub, "hub_user", sentence)];
    if let (true, Ok(groups)) = (scene.pam != Some(false), &scene.hub_groups) {
        findings.push(look_at_shadow(scene, hub, groups, scene.pam.is_some()));
    }
    findings
}

/// PAM's pam_unix compares passwords with /etc/shadow. Only an account that can read this file may check
/// passwords of accounts other than its own.
fn look_at_shadow(scene: &Scene, hub: &Account, hub_groups: &[Gid], is_pam: bool) -> Finding {
    let code = "shadow";
    let Ok(shadow) = fs::metadata("/etc/shadow") else {
        return Finding::ok(Area::Hub, code, "there is no /etc/shadow");
    };
    let group = Gid::from_raw(shadow.gid());
    let group_name = find_group_by_gid(group).ok().flatten().map(|group| group.name);
    let group_reads = shadow.mode() & 0o040 != 0 && group.as_raw() != 0;
    let is_member = hub_groups.contains(&group);
    let restart = match &scene.unit {
        Some(unit) if scene.program.is_running() => {
            format!(" && systemctl restart {}", quote(unit))
        }
        _ => String::new(),
    };
    if group_reads && is_member {
        let groups = scene.program.read_status("Groups");
        let has_group = groups.is_none_or(|groups| {
            groups.split_whitespace().filter_map(parse_id).any(|gid| gid == group.as_raw())
        });
        let name = group_name.unwrap_or_default();
        if has_group {
            let sentence = format!("{} can read /etc/shadow by its group {name}", hub.name);
            return Finding::ok(Area::Hub, code, sentence);
        }
        let sentence = format!(
            "the Hub was started before {} joined the group {name}: it cannot read /etc/shadow, and \
             nobody can log in through PAM",
            hub.name
        );
        let unit = scene.unit.as_deref().unwrap_or("jupyterhub.service");
        return Finding::problem(
            Area::Hub,
            code,
            sentence,
            format!("systemctl restart {}", quote(unit)),
        );
    }
    let sentence = format!(
        "{} cannot read /etc/shadow: nobody but {} itself can log in through PAM",
        hub.name, hub.name
    );
    let remedy = match group_name {
        Some(name) if group_reads => {
            format!("usermod --append --groups {name} {}{restart}", quote(&hub.name))
        }
        _ => format!(
            "groupadd --force --system shadow && chgrp shadow /etc/shadow && chmod g+r /etc/shadow && \
             usermod --append --groups shadow {}{restart}",
            quote(&hub.name)
        ),
    };
    if is_pam {
        return Finding::problem(Area::Hub, code, sentence, remedy);
    }
    let sentence = format!("{sentence}, if the Hub has people log in through PAM");
    Finding::warning(Area::Hub, code, sentence, Some(remedy))
}
