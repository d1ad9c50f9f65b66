//! The program that makes accounts: whether it would run, and whether what it makes may have servers.

use std::io::Read;
use std::path::Path;

use super::finding::{Area, Finding};
use super::hooks::look_at_beginning;
use super::policy::add_to_list;
use super::remedy::{quote, restore_trust};
use super::scene::Scene;
use super::viewpoint::report;
use root::policy::file::Policy;
use root::policy::reading::POLICY_PATH;
use root::trusted_file::{Distrust, open_trusted};
use target::mode::Mode;

/// Looks at the program, if the policy names one that counts.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let Some(policy) = scene.policy.as_ref().filter(|_| scene.mode == Mode::Root) else {
        return Vec::new();
    };
    let Some(program) = &policy.accounts.create else { return Vec::new() };
    let mut findings = report(Area::Policy, program, || look_at_program(program));
    if policy.targets.groups.is_empty() {
        let sentence = format!(
            "targets.groups is empty: what {} makes may have servers only where targets.users names it",
            program.display()
        );
        let remedy = add_to_list(&scene.policy_text, "targets", "groups", &["jupyterhub"]);
        findings.push(Finding::warning(Area::Policy, "targets", sentence, Some(remedy)));
    }
    findings
}

/// Whether root mode has an account of this name made, if there is none.
pub fn is_made(policy: &Policy, name: &str) -> bool {
    policy.accounts.create.is_some() && policy.accounts.names.matches(name)
}

fn look_at_program(program: &Path) -> Vec<Finding> {
    let (shown, code) = (program.display(), "accounts_create");
    let problem = |sentence: String, remedy: String| {
        vec![Finding::problem(Area::Policy, "accounts_create", sentence, remedy)]
    };
    let off = || format!("sed -i -E '/^ *create *=/s/^/# /' {POLICY_PATH}");
    match open_trusted(program) {
        Err(Distrust::Missing(path)) => problem(
            format!("no account is made: {} does not exist (accounts.create)", path.display()),
            off(),
        ),
        Err(distrust @ Distrust::Closed(..)) => {
            vec![Finding::warning(Area::Policy, code, distrust.to_string(), None)]
        }
        Err(distrust) => problem(
            format!("no account is made, look at what is in the program first: {distrust}"),
            restore_trust(&distrust).unwrap_or_else(off),
        ),
        Ok((_, stat)) if stat.st_mode & 0o111 == 0 => problem(
            format!("no account is made: {shown} is not executable"),
            format!("chmod a+x {}", quote(program)),
        ),
        Ok((file, _)) => {
            let mut head = Vec::new();
            let is_read = file.take(256).read_to_end(&mut head).is_ok();
            let mut findings = if is_read { look_at_beginning(program, &head) } else { Vec::new() };
            if findings.is_empty() {
                let sentence = format!("{shown} makes accounts at their first use");
                findings.push(Finding::ok(Area::Policy, code, sentence));
            }
            findings
        }
    }
}
