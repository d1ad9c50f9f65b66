//! The invariants of `docs/architecture.md` that can be read off the sources.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each module of the library may use of the others. What is not listed here is not allowed:
/// a new arrow is a decision, and this is where it is made.
const MAY_USE: &[(&str, &[&str])] = &[
    ("system_calls", &[]),
    ("escape", &[]),
    ("trusted_file", &[]),
    ("denial", &["policy"]),
    ("error", &["denial", "process", "server_name"]),
    ("root_options", &[]),
    ("diagnostics", &["escape"]),
    ("json", &["error"]),
    ("cli", &["error"]),
    ("account", &["denial", "system_calls"]),
    ("output", &["system_calls"]),
    ("server_name", &[]),
    ("unit_name", &["error", "server_name"]),
    ("audit", &["account", "escape"]),
    ("request", &["error", "json", "process", "server_name"]),
    (
        "policy",
        &[
            "account",
            "denial",
            "error",
            "privileges",
            "request",
            "server_name",
            "trusted_file",
            "unit_name",
        ],
    ),
    (
        "hooks",
        &[
            "denial",
            "ending",
            "escape",
            "output",
            "policy",
            "server_name",
            "system_calls",
            "trusted_file",
        ],
    ),
    ("unit_properties", &["policy", "request", "server_name"]),
    (
        "service_manager",
        &["error", "output", "policy", "system_calls", "unit_name", "unit_properties"],
    ),
    ("privileges", &["account", "denial", "hooks", "policy", "system_calls"]),
    ("environment", &["error", "policy", "server_name"]),
    ("server", &["error", "policy", "privileges", "system_calls", "trusted_file"]),
    ("ending", &["system_calls"]),
    ("keeper", &["ending"]),
    (
        "process",
        &[
            "ending",
            "error",
            "keeper",
            "policy",
            "privileges",
            "request",
            "supervisor",
            "system_calls",
        ],
    ),
    (
        "supervisor",
        &["ending", "policy", "privileges", "process", "report", "server_name", "system_calls"],
    ),
    // The form of a report holds what is reported.
    ("report", &["denial", "error", "hooks", "process", "server"]),
    ("reply", &["error", "escape", "hooks", "process", "request"]),
    (
        "jsd_helper",
        &[
            "account",
            "audit",
            "denial",
            "error",
            "policy",
            "privileges",
            "server_name",
            "system_calls",
            "trusted_file",
            "unit_name",
            "unit_properties",
        ],
    ),
    ("roothooks", &["account", "denial", "hooks", "privileges", "system_calls"]),
    ("sudoers_fragment", &["account"]),
    (
        "check",
        &[
            "account",
            "escape",
            "hooks",
            "policy",
            "privileges",
            "server",
            "sudoers_fragment",
            "system_calls",
            "trusted_file",
        ],
    ),
    (
        "subcommands",
        &[
            "account",
            "check",
            "diagnostics",
            "policy",
            "reply",
            "sudoers_fragment",
            "system_calls",
            "trusted_file",
        ],
    ),
];

/// Where everything comes together; only the program itself uses them.
const TOP: [&str; 3] = ["launcher", "monitor", "foreground"];

struct Source {
    path: PathBuf,
    /// Without comments and without the unit tests, which stand last in a file.
    code: String,
}

fn read_sources() -> Vec<Source> {
    fn collect(directory: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                found.push(Source { path, code: code.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 10);
    found
}

/// The top module that a file belongs to: `launcher` for `src/launcher/process.rs`.
fn module_of(path: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let first = path.strip_prefix(src).unwrap().iter().next().unwrap().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn used_modules(code: &str) -> BTreeSet<String> {
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| {
            // `use crate::{a, b}` is not used in this repository, so that this stays simple.
            assert!(!rest.starts_with('{'), "write one `use crate::…` for each module");
            rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next()
        })
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn every_module_uses_only_what_it_may_use() {
    for source in read_sources() {
        let module = module_of(&source.path);
        if ["main", "answer", "lib", "bin"].contains(&module.as_str())
            || TOP.contains(&module.as_str())
        {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is not in the table of this test"));
        for used in used_modules(&source.code) {
            assert!(
                used == module || allowed.contains(&used.as_str()),
                "{} uses {used}",
                source.path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_in_two_files_and_each_block_says_why() {
    for source in read_sources() {
        let blocks = source.code.matches("unsafe {").count();
        let may = ["src/system_calls.rs", "src/system_calls/afresh.rs"];
        if !may.iter().any(|file| source.path.ends_with(file)) {
            assert_eq!(blocks, 0, "{}", source.path.display());
            assert!(!source.code.contains("unsafe_code"), "{}", source.path.display());
            continue;
        }
        let text = std::fs::read_to_string(&source.path).unwrap();
        assert_eq!(text.matches("// SAFETY:").count(), blocks);
    }
}

#[test]
fn only_the_reply_is_written_to_stdout_and_only_hooks_and_systemds_programs_are_started() {
    for source in read_sources() {
        let name = source.path.display();
        if module_of(&source.path) != "reply" {
            assert!(!source.code.contains("stdout()"), "{name}");
        }
        for forbidden in ["println!", "print!", "set_var", "sleep("] {
            assert!(!source.code.contains(forbidden), "{name}: {forbidden}");
        }
        // `check` asks sudo and systemctl; it is no part of a spawn, and is root's only if root calls.
        let asks = source.path.ends_with("check/commands.rs");
        let starts = ["hooks", "service_manager"].contains(&module_of(&source.path).as_str());
        if !starts && !asks {
            assert!(!source.code.contains("Command::new"), "{name}");
        }
    }
}

#[test]
fn the_stages_of_the_flow_can_only_be_made_by_their_own_module() {
    for (stage, module) in [
        ("Target {", "policy"),
        ("Grant {", "policy"),
        ("Prepared {", "hooks"),
        ("Unprivileged {", "privileges"),
    ] {
        for source in read_sources() {
            if module_of(&source.path) != module {
                assert!(!source.code.contains(&format!("Ok({stage}")), "{}", source.path.display());
            }
            let generic = format!("pub struct {}<", stage.trim_end_matches(" {"));
            for definition in [format!("pub struct {stage}"), generic] {
                let Some((_, body)) = source.code.split_once(&definition) else { continue };
                let fields = body.split('}').next().unwrap();
                assert!(!fields.contains("pub"), "{stage} has a field that others can set");
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_what_one_reads_at_a_time() {
    for source in read_sources() {
        let lines = source.code.lines().count();
        assert!(lines <= 300, "{} has {lines} lines of code", source.path.display());
    }
}

/// The modules of the Python package that a module imports, inside functions and for type checkers
/// too.
fn imported_python_modules(code: &str) -> BTreeSet<String> {
    let names = |list: &str| -> BTreeSet<String> {
        assert!(!list.contains('('), "import modules of the package on one line");
        list.split(',').filter_map(|name| name.split_whitespace().next()).map(Into::into).collect()
    };
    code.lines()
        .map(str::trim_start)
        .filter_map(|line| line.strip_prefix("from .")?.split_once(" import "))
        .flat_map(|(module, list)| match module {
            "" => names(list),
            module => names(module),
        })
        .collect()
}

#[test]
fn no_module_of_the_python_package_imports_one_that_imports_it() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("spawner-py/sudospawner");
    let mut imports = BTreeMap::new();
    for entry in std::fs::read_dir(package).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "py") {
            let module = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let code = std::fs::read_to_string(&path).unwrap();
            assert!(
                !code.contains("from sudospawner"),
                "{module}: write `from .module import name`"
            );
            imports.insert(module, imported_python_modules(&code));
        }
    }
    assert!(imports["spawner"].contains("mediator"));
    // Modules that import nothing of what is left are taken away; what then remains is in a circle.
    while !imports.is_empty() {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.retain(|_, imported| !imported.is_disjoint(&left));
        assert!(imports.len() < left.len(), "there is an import circle: {imports:?}");
    }
}
