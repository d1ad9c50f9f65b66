//! Which file the Hub calls, and which other programs have the name `sudospawner`.

use std::path::Path;

use super::finding::{Area, Finding};
use super::hearsay::show_words;
use super::hub_files::{Namesake, Seen};
use super::remedy::{find_owner, quote, run_as};
use super::scene::Scene;
use super::viewpoint::report;
use root::trusted_file::open_trusted;

/// Looks at the Hub's setting, and at the Hub's PATH.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let seen = match &scene.seen {
        Ok(seen) => seen,
        Err(silence) => {
            let sentence = format!("{silence}: what the Hub's files say is not known");
            return vec![Finding::warning(Area::Path, "sudospawner_path", sentence, None)];
        }
    };
    let file = scene.program.configuration.as_deref().unwrap_or(&scene.own);
    let mut findings = report(Area::Path, file, || vec![look_at_setting(scene, seen)]);
    let mut is_first = true;
    for (directory, namesake) in scene.program.directories.iter().zip(&seen.namesakes) {
        let path = directory.join("sudospawner");
        match namesake {
            Namesake::None => {}
            Namesake::This => is_first = false,
            Namesake::Python => findings
                .extend(report(Area::Path, &path, || vec![judge_python(&path, scene, is_first)])),
            Namesake::Other => {
                findings.extend(report(Area::Path, &path, || vec![judge_other(&path, scene)]));
            }
        }
    }
    findings
}

fn look_at_setting(scene: &Scene, seen: &Seen) -> Finding {
    let code = "sudospawner_path";
    let own = scene.own.display();
    let Some(path) = &scene.path else {
        return Finding::ok(Area::Path, code, format!("looked at as {own}"));
    };
    let shown = show_words(&path.to_string_lossy());
    let sentence = if !path.is_absolute() {
        format!("sudospawner_path is {shown}, which sudo looks for in secure_path")
    } else if !seen.is_called {
        format!("sudospawner_path is {shown}, and this is {own}")
    } else {
        return Finding::ok(Area::Path, code, format!("the Hub calls {shown}"));
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

/// Changes the Hub's configuration with sed(1), if it is known. A process could name any file, so the file is
/// changed as that process's account or not at all.
fn edit_setting(scene: &Scene, script: &str) -> Option<String> {
    let file = scene.program.configuration.as_deref()?;
    let owner = find_owner(&[file])?;
    let is_hub = scene.hub.as_ref().is_some_and(|hub| hub.uid == owner);
    if scene.program.is_own_word && !is_hub {
        return None;
    }
    run_as(owner, &format!("sed -i {} {}", quote(script), quote(file)))
}

/// Only if the environment is root's alone and the unit's PATH leads to it: root must execute nothing that a
/// Hub could have placed there.
fn remove_python_package(path: &Path, scene: &Scene) -> Option<String> {
    let pip = path.with_file_name("pip");
    let lib = path.parent()?.with_file_name("lib");
    let is_root_alone = open_trusted(path).is_ok()
        && open_trusted(&pip).is_ok()
        && find_owner(&[&lib]).is_some_and(|owner| owner.is_root());
    (is_root_alone && !scene.program.is_own_word)
        .then(|| format!("{} uninstall --yes sudospawner; rm -f {}", quote(&pip), quote(path)))
}

fn judge_python(path: &Path, scene: &Scene, is_first: bool) -> Finding {
    let code = "python_sudospawner";
    let sentence = format!(
        "{} is the Python package's sudospawner; both packages have the same module, and the Hub calls the \
         program that its PATH has first",
        path.display()
    );
    let remedy = remove_python_package(path, scene)
        .or_else(|| edit_setting(scene, &format!("$a {}", write_setting(scene))));
    match remedy {
        Some(remedy) if is_first && scene.path.is_none() => {
            Finding::problem(Area::Path, code, sentence, remedy)
        }
        remedy => Finding::warning(Area::Path, code, sentence, remedy),
    }
}

fn judge_other(path: &Path, scene: &Scene) -> Finding {
    let code = "two_binaries";
    let (shown, own) = (path.display(), scene.own.display());
    let sentence = format!("{shown} goes by the same name as {own}, and is another file");
    if scene.path.is_some() {
        let sentence = format!("{sentence}; sudospawner_path says which one is meant");
        return Finding::ok(Area::Path, code, sentence);
    }
    let remedy = edit_setting(scene, &format!("$a {}", write_setting(scene)));
    let sentence = format!("{sentence}: set {}", write_setting(scene));
    Finding::warning(Area::Path, code, sentence, remedy)
}
