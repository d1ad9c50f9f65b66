//! What other computers run for this repository names only what is there: targets, files, versions.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn exists(path: &str) -> bool {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The name and the text of each workflow.
fn workflows() -> Vec<(String, String)> {
    let folder = format!("{}/.github/workflows", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap();
    let names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() > 3);
    names
        .into_iter()
        .map(|name| (name.clone(), read(&format!(".github/workflows/{name}"))))
        .collect()
}

/// The targets of the Makefile that have a line in `make help`.
fn targets() -> BTreeSet<String> {
    let makefile = read("Makefile");
    let documented =
        makefile.lines().filter(|line| line.contains(": ## ") || line.contains(" ## "));
    let names = documented.filter_map(|line| line.split_once(':').map(|(name, _)| name));
    let names = names.filter(|name| name.chars().all(|one| one.is_ascii_lowercase() || one == '-'));
    let names: BTreeSet<String> = names.map(ToOwned::to_owned).collect();
    assert!(names.len() > 8);
    names
}

/// The words behind each `make` of a text, where it begins a command.
fn targets_named_in(text: &str) -> Vec<String> {
    let commands = text.lines().flat_map(|line| line.split(['`', '"', ';']));
    let mut named = Vec::new();
    for command in commands {
        let mut words = command.split_whitespace();
        if words.by_ref().any(|word| word == "make") {
            named.extend(words.next().map(ToOwned::to_owned));
        }
    }
    named
}

#[test]
fn workflows_and_pages_call_only_targets_that_the_makefile_has() {
    let targets = targets();
    let mut seen = 0;
    let calls = workflows().into_iter().map(|(name, text)| {
        let steps = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        (name, steps.collect::<Vec<_>>().join("\n"))
    });
    let blocks = |page: &str| {
        let lines = read(page);
        let lines = lines.lines().filter(|line| line.starts_with("    make ")).map(str::trim);
        (page.to_owned(), lines.collect::<Vec<_>>().join("\n"))
    };
    for (name, text) in calls.chain([blocks("CONTRIBUTING.md"), blocks("README.md")]) {
        for target in targets_named_in(&text) {
            assert!(targets.contains(&target), "{name}: make {target}");
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_action_is_pinned_by_the_hash_of_a_commit() {
    let mut seen = 0;
    for (name, text) in workflows() {
        for line in text.lines() {
            let Some((_, used)) = line.split_once("uses: ") else { continue };
            if let Some(own) = used.strip_prefix("./") {
                assert!(exists(own), "{name}: {own}");
                continue;
            }
            let (_, pin) = used.split_once('@').unwrap();
            let (hash, version) =
                pin.split_once(" # v").unwrap_or_else(|| panic!("{name}: {used}"));
            assert!(hash.len() == 40 && hash.bytes().all(|one| one.is_ascii_hexdigit()), "{used}");
            assert!(version.starts_with(|one: char| one.is_ascii_digit()), "{used}");
            seen += 1;
        }
    }
    assert!(seen > 5);
}

#[test]
fn what_a_commit_runs_has_the_versions_of_what_make_runs() {
    let pins = read("tests/machine/requirements/tests.txt");
    let hooks = read(".pre-commit-config.yaml");
    let named = hooks.split("additional_dependencies: [").skip(1);
    let named: Vec<&str> = named.filter_map(|rest| rest.split(']').next()).collect();
    assert!(named.len() > 2);
    for package in named {
        assert!(pins.lines().any(|line| line == package), "{package}");
    }
}

#[test]
fn what_read_the_docs_is_told_of_exists() {
    let settings = read(".readthedocs.yaml");
    for key in ["configuration: ", "requirements: "] {
        let (_, rest) = settings.split_once(key).unwrap();
        let named = rest.lines().next().unwrap();
        assert!(exists(named), "{named}");
    }
}
