//! `sudospawner check` looks at how a machine is set up, and says what is wrong and which command mends it.
//!
//! A [`Finding`] is a value. Each file below `check/` covers one area: its probes read the machine, and pure
//! functions decide what follows from that. Nothing here changes anything or is part of a spawn.

mod accounts;
mod apart;
mod binary;
mod cluster;
mod commands;
mod directory;
mod enrolment;
mod finding;
mod hearsay;
mod hooks;
mod hub;
mod hub_files;
mod hub_program;
mod limits;
mod mending;
mod policy;
mod policy_file;
mod powerful;
mod program_path;
mod properties;
mod remedy;
mod render;
mod scene;
mod selinux;
mod server;
mod session;
mod socket;
mod sudo;
mod sudo_call;
mod sudo_listing;
mod sudo_refusal;
mod target;
mod unit;
mod viewpoint;

pub use accounts::find_own;
pub use finding::{Area, Finding, Level};
pub use policy_file::read_text as read_policy_text;
pub use powerful::look_at_denied;
pub use render::{Report, render};
pub use scene::Question;
pub use sudo::find_dialect;

use root::account::Way;
use scene::Scene;
use viewpoint::report;

/// Looks at everything that the question concerns, as this process's account.
///
/// # Errors
/// A sentence if the question itself is wrong: it names an account that does not exist.
pub fn look_at_machine(question: &Question) -> Result<Report, String> {
    if question.own_account_only {
        let findings = target::look_at_self(question.mode());
        return Ok(Report::new(None, None, findings));
    }
    let scene = Scene::find(question)?;
    let mut findings = scene.silences.clone();
    findings.extend(binary::look(&scene));
    findings.extend(program_path::look(&scene));
    findings.extend(policy::look(&scene));
    findings.extend(enrolment::look(&scene));
    findings.extend(powerful::look(&scene));
    findings.extend(session::look(&scene));
    findings.extend(hooks::look(&scene));
    findings.extend(hub::look(&scene));
    findings.extend(unit::look(&scene));
    if scene.way == Way::Command {
        findings.extend(sudo::look(&scene));
    }
    findings.extend(target::look(&scene));
    findings.extend(cluster::look(&scene, question.is_deep));
    findings.extend(limits::look(&scene));
    findings.extend(report(Area::Selinux, selinux::AUDIT_LOG.as_ref(), selinux::look));
    findings.extend(match scene.way {
        Way::Command => sudo_call::call_really(&scene, &findings),
        Way::Socket => socket::look(&scene, &findings),
    });
    findings.sort_by_key(|finding| finding.area);
    let hub_user = scene.hub.as_ref().map(|hub| hub.name.clone());
    Ok(Report::new(Some(scene.mode_name()), hub_user, findings))
}
