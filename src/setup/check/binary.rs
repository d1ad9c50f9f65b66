//! The mediator's own file, and the program sudo.

use ground::mounts::find_mount_with;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::commands::find_program;
use super::finding::{Area, Finding};
use super::remedy::{quote, restore_trust};
use super::scene::Scene;
use super::viewpoint::report;
use root::account::Way;
use root::trusted_file::{Distrust, check_trusted};

/// Looks at who could replace the mediator, and whether sudo can give privileges at all.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let own = scene.own.as_path();
    let mut findings = report(Area::Binary, own, || look_at_own(own));
    if scene.way == Way::Command {
        findings.extend(report(Area::Sudo, Path::new("/usr/bin/sudo"), || vec![look_at_sudo()]));
    }
    findings
}

fn look_at_own(own: &Path) -> Vec<Finding> {
    let mut findings = vec![judge_trust(own, check_trusted(own).err())];
    if let Some(mode) = fs::metadata(own).ok().map(|file| file.mode())
        && mode & 0o6000 != 0
    {
        let sentence =
            format!("every call is refused: {} has a setuid or setgid bit", own.display());
        let remedy = format!("chmod ug-s {}", quote(own));
        findings.push(Finding::problem(Area::Binary, "setuid", sentence, remedy));
    }
    findings.push(look_at_mode(own));
    findings
}

/// Processes of an account cannot trace a program that it cannot read, from the first instruction on.
fn look_at_mode(own: &Path) -> Finding {
    let code = "binary_readable";
    let shown = own.display();
    let is_readable = fs::metadata(own).is_ok_and(|file| file.mode() & 0o044 != 0);
    if !is_readable {
        return Finding::ok(Area::Binary, code, format!("others than root only execute {shown}"));
    }
    let sentence = format!(
        "users can read {shown}, and so their processes can take descriptors out of it while it starts, \
         and speak in its name"
    );
    let remedy = format!("chmod 0711 {}", quote(own));
    Finding::warning(Area::Binary, code, sentence, Some(remedy))
}

fn judge_trust(own: &Path, distrust: Option<Distrust>) -> Finding {
    let code = "binary_untrusted";
    let Some(distrust) = distrust else {
        let sentence = format!("only root can replace {}", own.display());
        return Finding::ok(Area::Binary, code, sentence);
    };
    let sentence = format!("whoever can replace the mediator can be any user, or root: {distrust}");
    match restore_trust(&distrust) {
        Some(remedy) => Finding::problem(Area::Binary, code, sentence, remedy),
        None => Finding::warning(Area::Binary, code, sentence, None),
    }
}

/// sudo gets root only from its setuid bit, which a file system mounted with nosuid ignores.
fn look_at_sudo() -> Finding {
    let code = "sudo_not_setuid";
    let Some(sudo) = find_program("sudo") else {
        let sentence = "sudo is not installed";
        return Finding::problem(Area::Sudo, code, sentence, "apt-get install --yes sudo");
    };
    let sudo = fs::canonicalize(&sudo).unwrap_or(sudo);
    let shown = sudo.display();
    let is_setuid = |file: fs::Metadata| file.uid() == 0 && file.mode() & 0o4000 != 0;
    if !fs::metadata(&sudo).is_ok_and(is_setuid) {
        let sentence = format!("{shown} does not belong to root with the setuid bit set");
        let remedy = format!("chown root:root {0} && chmod 4755 {0}", quote(&sudo));
        return Finding::problem(Area::Sudo, code, sentence, remedy);
    }
    if let Some(place) = find_mount_with(&sudo, "nosuid") {
        let sentence = format!(
            "{shown} is on {}, which is mounted with nosuid: sudo gives no rights",
            place.display()
        );
        let remedy = format!("mount -o remount,bind,suid {}", quote(&place));
        return Finding::problem(Area::Sudo, code, sentence, remedy);
    }
    Finding::ok(Area::Sudo, code, format!("{shown} has root's rights"))
}
