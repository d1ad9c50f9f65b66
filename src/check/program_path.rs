//! Which file the Hub calls, and what else goes by the name `sudospawner`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::finding::{Area, Finding};
use super::hub::HubProcess;
use super::remedy::{quote, run_as_owner};
use super::scene::Scene;
use crate::trusted_file::open_trusted;
use crate::trusted_file::program::read_interpreter;

/// Looks at the Hub's setting, and along the Hub's PATH.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let mut findings = vec![look_at_setting(scene)];
    let is_set = scene.path.is_some();
    for other in find_others(&scene.own, &search_path(scene)) {
        findings.push(judge_other(&other, scene, is_set));
    }
    findings
}

fn look_at_setting(scene: &Scene) -> Finding {
    let code = "sudospawner_path";
    let own = scene.own.display();
    let Some(path) = &scene.path else {
        return Finding::ok(Area::Path, code, format!("looked at as {own}"));
    };
    let sentence = if !path.is_absolute() {
        format!("sudospawner_path is {}, which sudo looks for in secure_path", path.display())
    } else if !is_same_file(path, &scene.own) {
        format!("sudospawner_path is {}, and this is {own}", path.display())
    } else {
        return Finding::ok(Area::Path, code, format!("the Hub calls {}", path.display()));
    };
    let pattern = "s|^c\\.SudoSpawner\\.sudospawner_path *=.*|";
    match edit_setting(scene, &format!("{pattern}{}|", write_setting(scene))) {
        Some(command) => Finding::problem(Area::Path, code, sentence, command),
        None => {
            let sentence = format!("{sentence}; set {}", write_setting(scene));
            Finding::warning(Area::Path, code, sentence, None)
        }
    }
}

/// The line of the Hub's configuration that names this file.
fn write_setting(scene: &Scene) -> String {
    format!("c.SudoSpawner.sudospawner_path = \"{}\"", scene.own.display())
}

/// Has sed(1) change the Hub's configuration, where that is known.
fn edit_setting(scene: &Scene, script: &str) -> Option<String> {
    let file = scene.process.as_ref().and_then(HubProcess::configuration)?;
    run_as_owner(&[file], &format!("sed -i {} {}", quote(script), quote(file)))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identify = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    identify(one).is_some() && identify(one) == identify(other)
}

/// The Hub's PATH, else our own, unless sudo has made it.
fn search_path(scene: &Scene) -> String {
    let of_hub = scene.process.as_ref().and_then(HubProcess::read_search_path);
    let own = || std::env::var("PATH").ok().filter(|_| std::env::var_os("SUDO_UID").is_none());
    of_hub.or_else(own).unwrap_or_default()
}

/// The other files of this name in these directories, in order, and whether each is found before ours.
fn find_others(own: &Path, search_path: &str) -> Vec<(PathBuf, bool)> {
    let mut found: Vec<(PathBuf, bool)> = Vec::new();
    let mut is_first = true;
    for directory in search_path.split(':').filter(|directory| directory.starts_with('/')) {
        let path = Path::new(directory).join("sudospawner");
        if is_same_file(&path, own) {
            is_first = false;
        } else if path.is_file() && !found.iter().any(|(known, _)| is_same_file(known, &path)) {
            found.push((path, is_first));
        }
    }
    found
}

/// Only where the environment is root's alone: PATH is the Hub's own, and root executes nothing that a
/// Hub could have laid there.
fn remove_python_package(path: &Path) -> Option<String> {
    let pip = path.with_file_name("pip");
    open_trusted(path).ok()?;
    open_trusted(&pip).ok()?;
    Some(format!("{} uninstall --yes sudospawner; rm -f {}", quote(&pip), quote(path)))
}

fn judge_other((path, is_first): &(PathBuf, bool), scene: &Scene, is_set: bool) -> Finding {
    let shown = path.display();
    let interpreter = fs::File::open(path).ok().and_then(|script| read_interpreter(&script));
    if interpreter.is_some_and(|file| file.to_string_lossy().contains("python")) {
        let sentence = format!(
            "{shown} is the Python package's sudospawner; both packages have the same module, and the \
             Hub calls the program that its PATH has first"
        );
        let remedy = remove_python_package(path)
            .or_else(|| edit_setting(scene, &format!("$a {}", write_setting(scene))));
        return match remedy {
            Some(remedy) if *is_first && !is_set => {
                Finding::problem(Area::Path, "python_sudospawner", sentence, remedy)
            }
            remedy => Finding::warning(Area::Path, "python_sudospawner", sentence, remedy),
        };
    }
    let own = scene.own.display();
    let sentence = format!("{shown} goes by the same name as {own}, and is another file");
    if is_set {
        let sentence = format!("{sentence}; sudospawner_path says which one is meant");
        return Finding::ok(Area::Path, "two_binaries", sentence);
    }
    let remedy = edit_setting(scene, &format!("$a {}", write_setting(scene)));
    let sentence = format!("{sentence}: set {}", write_setting(scene));
    Finding::warning(Area::Path, "two_binaries", sentence, remedy)
}
