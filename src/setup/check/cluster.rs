//! The cluster whose jobs the servers are: Slurm's programs, its controller, the profiles, and the nodes.

use std::time::Duration;

use root::policy::file::Launcher;
use root::policy::reading::POLICY_PATH;
use slurm::look::{Seen, ask_controller, look_at_node, try_profiles, try_seal};
use slurm::programs::Failure;
use slurm::section::Section;

use super::apart::Silence;
use super::finding::{Area, Finding};
use super::remedy::quote;
use super::scene::{Asked, Scene, Viewpoint};
use super::viewpoint::{look_apart, look_as};

/// How long the questions to the controller may take, which waits for a second one before it gives up.
const LIMIT: Duration = Duration::from_secs(30);
/// How long the profiles of one account may take.
const LIMIT_OF_PROFILES: Duration = Duration::from_secs(60);
/// How long a job that looks at a node may wait and run.
const LIMIT_OF_JOB: Duration = Duration::from_secs(120);

/// Looks at the cluster, if the policy has servers in jobs. With `is_deep`, a job of each target looks at a node.
pub fn look(scene: &Scene, is_deep: bool) -> Vec<Finding> {
    let launcher = scene.policy.as_ref().map(|policy| policy.server.launcher);
    let section = match (Section::parse(&scene.policy_text), launcher) {
        (Ok(section), Some(Launcher::Slurm)) => section,
        (Err(sentence), Some(_)) => {
            let sentence = format!("[slurm] of the policy is not understood: {sentence}");
            let remedy = format!("{} policy --check {POLICY_PATH}", quote(&scene.own));
            return vec![Finding::problem(Area::Slurm, "slurm_section", sentence, remedy)];
        }
        _ => return Vec::new(),
    };
    let mut findings = vec![look_at_controller(&section)];
    findings.extend(look_at_address(scene));
    findings.extend(look_at_seal(scene, &section));
    if findings.iter().any(|finding| finding.remedy.is_some() && finding.code != "hub_address") {
        return findings;
    }
    for asked in &scene.targets {
        findings.extend(look_at_profiles(scene, asked, &section, is_deep));
    }
    findings
}

fn look_at_controller(section: &Section) -> Finding {
    let asked = look_apart("Slurm's controller", LIMIT, || {
        Some(ask_controller(section).map_err(|failure| {
            let is_missing = matches!(failure, Failure::Missing { .. });
            (is_missing, failure.to_string())
        }))
    });
    match asked {
        Ok(Ok(())) => Finding::ok(Area::Slurm, "slurm_controller", "Slurm's controller answers"),
        Ok(Err((true, sentence))) => {
            let remedy = "apt-get install --yes slurm-client";
            Finding::problem(Area::Slurm, "slurm_programs", sentence, remedy)
        }
        Ok(Err((false, sentence))) | Err(Silence(sentence)) => {
            Finding::problem(Area::Slurm, "slurm_controller", sentence, "scontrol ping")
        }
    }
}

/// Servers on nodes have to reach the Hub, which by default is where only this machine does.
fn look_at_address(scene: &Scene) -> Option<Finding> {
    let code = "hub_address";
    let settings = &scene.seen.as_ref().ok()?.settings;
    let (sentence, is_loopback) = match &settings.hub_address {
        None => {
            let sentence = "the Hub's configuration names no address at which nodes reach the Hub, as far as its text shows";
            (sentence.to_owned(), true)
        }
        Some(address) => {
            let begin = ["127.", "localhost", "::1", "[::1]"];
            let rest = address.split("://").last().unwrap_or(address);
            let sentence = format!("nodes are told to reach the Hub at {address:?}");
            (sentence, begin.iter().any(|begin| rest.starts_with(begin)))
        }
    };
    Some(if is_loopback {
        let sentence = format!(
            "{sentence}: set c.JupyterHub.hub_ip = '0.0.0.0', and c.JupyterHub.hub_connect_ip to a name or address of this machine that nodes can reach"
        );
        Finding::warning(Area::Slurm, code, sentence, None)
    } else {
        Finding::ok(Area::Slurm, code, sentence)
    })
}

/// With `internal_ssl` a request has a key, which crosses the network in a script.
fn look_at_seal(scene: &Scene, section: &Section) -> Option<Finding> {
    let code = "slurm_seal";
    scene.seen.as_ref().ok().filter(|seen| seen.settings.internal_ssl)?;
    let sealed =
        look_apart("munge", LIMIT, || Some(try_seal(section).map_err(|it| it.to_string())));
    Some(match sealed {
        Ok(Ok(())) => Finding::ok(Area::Slurm, code, "munge seals the servers' keys for their way"),
        Ok(Err(sentence)) | Err(Silence(sentence)) => {
            let remedy = "apt-get install --yes munge && systemctl restart munge";
            Finding::problem(Area::Slurm, code, sentence, remedy)
        }
    })
}

fn look_at_profiles(
    scene: &Scene,
    asked: &Asked,
    section: &Section,
    is_deep: bool,
) -> Vec<Finding> {
    let (Ok(Some(account)), Ok(groups)) = (&asked.account, &asked.groups) else {
        return Vec::new();
    };
    let name = &account.name;
    if scene.viewpoint != Viewpoint::Root || account.uid.is_root() {
        let sentence = format!("only root can have Slurm judge the profiles as {name}");
        return vec![Finding::ok(Area::Slurm, "slurm_profile", sentence)];
    }
    let groups: Vec<_> = groups.iter().map(|(gid, _)| *gid).collect();
    let seen = look_as(account, LIMIT_OF_PROFILES, || try_profiles(section, &groups));
    let mut findings = judge(name, "slurm_profile", "Slurm would take a job with", seen);
    if is_deep && findings.iter().all(|finding| finding.remedy.is_none()) {
        let text = &scene.policy_text;
        let profile = section.find_profile(None).unwrap_or_default();
        let limit = LIMIT_OF_JOB.saturating_add(LIMIT);
        let seen =
            look_as(account, limit, || vec![look_at_node(section, text, &profile, LIMIT_OF_JOB)]);
        let code = "slurm_node";
        let good = "on its node a job found program, server and home, with";
        findings.extend(judge(name, code, good, seen));
    }
    findings
}

fn judge(
    name: &str,
    code: &'static str,
    good: &str,
    seen: Result<Vec<Seen>, Silence>,
) -> Vec<Finding> {
    let show = |profile: &str| match profile {
        "" => "no profile".to_owned(),
        profile => format!("the profile {profile}"),
    };
    let edit = || format!("${{EDITOR:-vi}} {POLICY_PATH}");
    match seen {
        Ok(seen) => {
            let judge_one = |Seen { profile, fault }: Seen| match fault {
                None => {
                    Finding::ok(Area::Slurm, code, format!("{good} {} for {name}", show(&profile)))
                }
                Some(fault) => {
                    let sentence = format!("with {}, as {name} sees it: {fault}", show(&profile));
                    Finding::problem(Area::Slurm, code, sentence, edit())
                }
            };
            seen.into_iter().map(judge_one).collect()
        }
        Err(Silence(sentence)) => {
            vec![Finding::problem(Area::Slurm, code, sentence, "scontrol ping")]
        }
    }
}
