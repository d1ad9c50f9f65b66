//! The service of PAM's whose session servers have, and the program that opens it.

use std::path::{Path, PathBuf};

use super::finding::{Area, Finding};
use super::remedy::{quote, restore_trust};
use super::scene::Scene;
use root::policy::reading::POLICY_PATH;
use root::session::PROGRAM;
use root::trusted_file::{Distrust, check_trusted};
use target::mode::Mode;

/// Where a machine has what a service can include: on Debian, and elsewhere.
const SHARED: [(&str, [&str; 2]); 2] = [
    ("/etc/pam.d/common-session", ["@include common-account", "@include common-session"]),
    ("/etc/pam.d/system-auth", ["account include system-auth", "session include system-auth"]),
];

/// Looks at both, if the policy has a service.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let policy = scene.policy.as_ref().filter(|_| scene.mode == Mode::Root);
    let Some(service) = policy.and_then(|policy| policy.server.pam_service.as_deref()) else {
        return Vec::new();
    };
    let file = PathBuf::from("/etc/pam.d").join(service);
    let vendor = Path::new("/usr/lib/pam.d").join(service);
    let file = if vendor.exists() && !file.exists() { vendor } else { file };
    let file = match check_trusted(&file) {
        Err(distrust) => {
            let remedy = match &distrust {
                Distrust::Missing(path) => make_service(path),
                distrust => restore_trust(distrust),
            };
            let (sentence, remedy) = (say(&distrust), remedy.unwrap_or_else(do_without));
            Finding::problem(Area::Policy, "pam_service", sentence, remedy)
        }
        Ok(_) => {
            let sentence = format!("servers have a session of {}", file.display());
            Finding::ok(Area::Policy, "pam_service", sentence)
        }
    };
    let program = check_trusted(&scene.own.with_file_name(PROGRAM)).err().map(|distrust| {
        let remedy = restore_trust(&distrust).unwrap_or_else(do_without);
        Finding::problem(Area::Policy, "pam_program", say(&distrust), remedy)
    });
    [file].into_iter().chain(program).collect()
}

fn say(distrust: &Distrust) -> String {
    format!("no server is started, since none has the session of server.pam_service: {distrust}")
}

fn do_without() -> String {
    format!("sed -i -E '/^ *pam_service *=/s/^/# /' {POLICY_PATH}")
}

/// Writes a service with what this machine's other services have.
fn make_service(path: &Path) -> Option<String> {
    let (_, [account, session]) = SHARED.iter().find(|(file, _)| Path::new(file).exists())?;
    let text = format!("{account}\\nauth required pam_permit.so\\n{session}\\n");
    Some(format!("printf {} >{}", quote(text), quote(path)))
}
