//! Root's hooks: which ones would run, in which order, and what would prevent one from running.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::finding::{Area, Finding};
use super::remedy::{quote, restore_trust};
use super::scene::Scene;
use super::viewpoint::{look_at, report, say_unanswered};
use root::trusted_file::{Distrust, TrustedDirectory};
use target::mode::Mode;

/// Looks at the directory of hooks and at each file in it.
pub fn look(scene: &Scene) -> Vec<Finding> {
    let Some(policy) = scene.policy.as_ref().filter(|_| scene.mode == Mode::Root) else {
        return Vec::new();
    };
    let mut findings = look_into(&policy.hooks.dir, Order::Forward);
    findings.extend(policy.hooks.after_dir.iter().flat_map(|dir| look_into(dir, Order::Backward)));
    findings.extend(policy.hooks.credentials.iter().flat_map(|dir| {
        let found = look_at(dir, || look_at_secrets(dir));
        found.unwrap_or_else(|silence| vec![say_unanswered(Area::Hooks, &silence)])
    }));
    findings
}

/// When hooks run, and so in which order.
#[derive(Clone, Copy)]
enum Order {
    /// Before a server.
    Forward,
    /// After it.
    Backward,
}

fn look_into(dir: &Path, order: Order) -> Vec<Finding> {
    let Folder { mut findings, hooks } = match look_at(dir, || Folder::open(dir)) {
        Ok(folder) => folder,
        Err(silence) => return vec![say_unanswered(Area::Hooks, &silence)],
    };
    let Some(hooks) = hooks else { return findings };
    for (name, head) in &hooks {
        let path = dir.join(name);
        findings.extend(head.iter().flat_map(|head| look_at_beginning(&path, head)));
    }
    let mut names: Vec<String> =
        hooks.iter().map(|(name, _)| Path::new(name).display().to_string()).collect();
    let run = match order {
        Order::Forward => "run",
        Order::Backward => {
            names.reverse();
            "after a server run"
        }
    };
    let sentence = match names.as_slice() {
        [] => format!("there are no hooks in {}", dir.display()),
        _ => format!("hooks {run} in this order: {}", names.join(", ")),
    };
    findings.push(Finding::ok(Area::Hooks, "hooks", sentence));
    findings
}

/// What would keep hooks from their secrets, and so from being run.
fn look_at_secrets(dir: &Path) -> Vec<Finding> {
    let refuse = |distrust: &Distrust| match restore_trust(distrust) {
        None => {
            let sentence = format!("hooks with secrets are not run: {distrust}");
            Finding::warning(Area::Hooks, "hooks_unseen", sentence, None)
        }
        Some(remedy) => {
            let sentence = format!("hooks with secrets are not run: {distrust}");
            Finding::problem(Area::Hooks, "credentials_refused", sentence, remedy)
        }
    };
    let opened = TrustedDirectory::open(dir).and_then(|opened| Ok((opened.list()?, opened)));
    let (names, opened) = match opened {
        Ok(opened) => opened,
        Err(Distrust::Missing(path)) => {
            let sentence = format!(
                "hooks are not run: hooks.credentials is {}, which is missing",
                path.display()
            );
            let remedy = format!("install -d -m 0700 {}", quote(&path));
            return vec![Finding::problem(Area::Hooks, "credentials_refused", sentence, remedy)];
        }
        // Others than root may not look into it, which is as it should be.
        Err(Distrust::Closed(..)) => return Vec::new(),
        Err(distrust) => return vec![refuse(&distrust)],
    };
    let mut findings = Vec::new();
    for name in names {
        match opened.open_file(&name) {
            Ok((_, stat)) if stat.st_mode & 0o077 != 0 => {
                let path = dir.join(&name);
                let sentence = format!(
                    "hooks with the secrets in {} are not run: others can read it",
                    path.display()
                );
                let remedy = format!("chmod go= {}", quote(&path));
                findings.push(Finding::problem(
                    Area::Hooks,
                    "credentials_refused",
                    sentence,
                    remedy,
                ));
            }
            Ok(_) | Err(Distrust::Kind(..) | Distrust::Closed(..)) => {}
            Err(distrust) => findings.push(refuse(&distrust)),
        }
    }
    findings
}

/// What is in the directory.
#[derive(Serialize, Deserialize)]
struct Folder {
    findings: Vec<Finding>,
    /// The hooks that run, in order, each with its beginning if that can be read; `None` if they cannot be
    /// listed.
    hooks: Option<Vec<(OsString, Option<Vec<u8>>)>>,
}

impl Folder {
    fn open(dir: &Path) -> Self {
        let opened = TrustedDirectory::open(dir).and_then(|opened| Ok((opened.list()?, opened)));
        let (names, opened) = match opened {
            Ok(opened) => opened,
            Err(distrust) => {
                return Self { findings: vec![explain_folder(&distrust)], hooks: None };
            }
        };
        let (mut findings, mut hooks) = (Vec::new(), Vec::new());
        for name in names {
            let path = dir.join(&name);
            match opened.open_file(&name) {
                Err(Distrust::Kind(..)) => {}
                Err(distrust) => findings.push(explain_hook(&distrust)),
                Ok((_, stat)) if stat.st_mode & 0o111 == 0 => {
                    let sentence =
                        format!("{} is not executable, and so is not run", path.display());
                    let remedy = Some(format!("chmod a+x {}", quote(&path)));
                    findings.push(Finding::warning(Area::Hooks, "hook_off", sentence, remedy));
                }
                Ok((file, _)) => {
                    let mut head = Vec::new();
                    let is_read = file.take(256).read_to_end(&mut head).is_ok();
                    hooks.push((name.into(), is_read.then_some(head)));
                }
            }
        }
        Self { findings, hooks: Some(hooks) }
    }
}

fn explain_folder(distrust: &Distrust) -> Finding {
    match (distrust, restore_trust(distrust)) {
        (Distrust::Missing(path), _) => {
            let sentence = format!("there are no hooks, since there is no {}", path.display());
            Finding::ok(Area::Hooks, "hooks", sentence)
        }
        (Distrust::Closed(..), _) | (_, None) => {
            Finding::warning(Area::Hooks, "hooks_unseen", distrust.to_string(), None)
        }
        (_, Some(remedy)) => {
            let sentence = format!("no hook is run: {distrust}");
            Finding::problem(Area::Hooks, "hooks_refused", sentence, remedy)
        }
    }
}

fn explain_hook(distrust: &Distrust) -> Finding {
    match (distrust, restore_trust(distrust)) {
        (Distrust::Closed(..), _) | (_, None) => {
            Finding::warning(Area::Hooks, "hooks_unseen", distrust.to_string(), None)
        }
        (_, Some(remedy)) => {
            let sentence = format!("a hook is refused, look at what is in it first: {distrust}");
            Finding::problem(Area::Hooks, "hook_refused", sentence, remedy)
        }
    }
}

/// Whether the kernel can execute a file that begins like this.
pub fn look_at_beginning(path: &Path, head: &[u8]) -> Vec<Finding> {
    let shown = path.display();
    let quoted = quote(path);
    let problem = |sentence: String, remedy: String| {
        vec![Finding::problem(Area::Hooks, "hook_not_executable", sentence, remedy)]
    };
    match judge_beginning(head) {
        None => Vec::new(),
        Some(Mistake::NoFirstLine) => problem(
            format!("{shown} does not begin with #!, and cannot be executed"),
            format!("sed -i '1i #!/bin/sh' {quoted}"),
        ),
        Some(Mistake::WindowsLines) => problem(
            format!("the lines of {shown} end as on Windows: its interpreter is not found"),
            format!("sed -i 's/\\r$//' {quoted}"),
        ),
        Some(Mistake::Interpreter(interpreter)) => report(Area::Hooks, &interpreter, || {
            if interpreter.is_file() {
                return Vec::new();
            }
            let named = interpreter.display();
            let sentence = format!("{shown} names the interpreter {named}, which is not there");
            let name = interpreter.file_name().map(PathBuf::from).unwrap_or_default();
            problem(
                sentence,
                match super::commands::find_program(&name.to_string_lossy()) {
                    Some(found) => {
                        let script = format!("1s|{named}|{}|", found.display());
                        format!("sed -i {} {quoted}", quote(script))
                    }
                    None => format!("chmod a-x {quoted}"),
                },
            )
        }),
    }
}

/// What the beginning of a file says about executing it.
#[derive(Debug, PartialEq, Eq)]
enum Mistake {
    NoFirstLine,
    WindowsLines,
    /// No mistake if this exists.
    Interpreter(PathBuf),
}

/// What could be wrong, judging by the first bytes; `None` for a binary.
fn judge_beginning(head: &[u8]) -> Option<Mistake> {
    if head.starts_with(b"\x7fELF") {
        return None;
    }
    let Some(rest) = head.strip_prefix(b"#!") else { return Some(Mistake::NoFirstLine) };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if line.ends_with(b"\r") {
        return Some(Mistake::WindowsLines);
    }
    let line = String::from_utf8_lossy(line);
    Some(Mistake::Interpreter(PathBuf::from(line.split_whitespace().next().unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_what_the_kernel_will_say() {
        assert_eq!(judge_beginning(b"\x7fELF..."), None);
        assert_eq!(judge_beginning(b"echo\n"), Some(Mistake::NoFirstLine));
        assert_eq!(judge_beginning(b"#!/bin/sh\r\n"), Some(Mistake::WindowsLines));
        let expected = Mistake::Interpreter(PathBuf::from("/bin/sh"));
        assert_eq!(judge_beginning(b"#! /bin/sh -eu\n"), Some(expected));
    }
}
