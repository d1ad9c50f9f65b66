//! The invariants of `docs/architecture.md` that show in the sources.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The members of the workspace: which others each may use, and how many lines of code it may have, without
/// comments, blank lines and tests. Only this table says so.
const MEMBERS: &[(&str, &[&str], usize)] = &[
    ("ground", &[], 1810),
    ("root", &["ground"], 2227),
    ("target", &["ground", "root"], 4180),
    ("slurm", &["ground", "root", "target"], 1980),
    ("setup", &["ground", "root", "slurm", "target"], 4640),
    ("session", &["ground"], 520),
    ("roothooks", &["ground", "root"], 600),
    ("jsd-helper", &["ground", "root"], 650),
    ("door", &["ground", "root"], 200),
];

/// The maximum lines of the mediator's `main`, which is root until it is the target, and of the other programs' `main`
/// functions together.
const MAIN: usize = 100;

struct Source {
    /// Below `src/`.
    path: PathBuf,
    /// Without comments and unit tests, which come last in a file.
    code: String,
}

impl Source {
    fn is(&self, path: &str) -> bool {
        self.path == Path::new(path)
    }

    fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }

    fn count_lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read_sources() -> Vec<Source> {
    fn collect(directory: &Path, found: &mut Vec<Source>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//"));
                let path = path.strip_prefix(src()).unwrap().to_owned();
                found.push(Source { path, code: code.collect::<Vec<_>>().join("\n") });
            }
        }
    }
    let mut found = Vec::new();
    collect(&src(), &mut found);
    assert!(found.len() > 100);
    found
}

#[test]
fn a_member_depends_on_those_below_it_alone() {
    for (member, below, _) in MEMBERS {
        let manifest = std::fs::read_to_string(src().join(member).join("Cargo.toml")).unwrap();
        let (_, dependencies) = manifest.split_once("[dependencies]").unwrap();
        let ours = dependencies.lines().filter_map(|line| line.strip_prefix("sudospawner-"));
        let used: Vec<&str> = ours.map(|rest| rest.split(['.', ' ']).next().unwrap()).collect();
        assert_eq!(&used, below, "{member}");
    }
}

#[test]
fn the_program_that_sudoers_permits_holds_nothing_but_a_spawn() {
    // A crate that is not named is not linked.
    let main = read_sources().into_iter().find(|source| source.is("main.rs")).unwrap();
    for (member, ..) in MEMBERS {
        let is_named = main.code.contains(&format!("use {}::", member.replace('-', "_")));
        assert_eq!(is_named, ["ground", "root", "target"].contains(member), "{member}");
    }
}

#[test]
fn each_member_is_small_enough_to_be_read() {
    let sources = read_sources();
    let count = |folder: &str| -> usize {
        sources.iter().filter(|source| source.is_below(folder)).map(Source::count_lines).sum()
    };
    for (member, _, most) in MEMBERS {
        let lines = count(member);
        assert!(lines <= *most, "src/{member} has {lines} lines of code");
    }
    assert!(count("main.rs") <= MAIN);
    assert!(count("bin") <= MAIN);
    for source in &sources {
        let lines = source.count_lines();
        assert!(lines <= 300, "{} has {lines} lines of code", source.path.display());
    }
    assert!(std::fs::read_dir(src()).unwrap().count() <= 11);
}

#[test]
fn unsafe_code_is_in_four_files_and_each_block_says_why() {
    // For the system calls of all programs, and for libpam, which one program loads.
    let mut blocks = [0; 2];
    for source in read_sources() {
        let here = source.code.matches("unsafe {").count();
        let for_pam = source.is("session/pam.rs") || source.is("session/pam/library.rs");
        let may = ["ground/system_calls.rs", "ground/system_calls/afresh.rs"];
        if !for_pam && !may.iter().any(|file| source.is(file)) {
            assert_eq!(here, 0, "{}", source.path.display());
            assert!(!source.code.contains("unsafe_code"), "{}", source.path.display());
            continue;
        }
        let text = std::fs::read_to_string(src().join(&source.path)).unwrap();
        assert_eq!(text.matches("// SAFETY:").count(), here);
        blocks[usize::from(for_pam)] += here;
    }
    assert!(blocks[0] <= 8 && blocks[1] <= 12, "{blocks:?} blocks");
}

#[test]
fn root_parses_nothing_but_its_policy_and_what_its_own_children_say() {
    for source in read_sources().iter().filter(|source| source.is_below("root")) {
        let name = source.path.display();
        let reads = |what: &str| source.code.contains(what);
        assert!(!reads("serde_json::from") || source.is("root/hooks/runner.rs"), "{name}");
        assert!(!reads("toml::from") || source.is("root/policy/reading.rs"), "{name}");
        // Only processes that have given up root write log lines of the program. Root's are the system's.
        let logs = source.code.replace("syslog::", "").contains("log::");
        assert!(!logs && !reads("diagnostics"), "{name}");
    }
}

#[test]
fn only_the_reply_is_written_to_stdout_and_only_hooks_and_systemds_programs_are_started() {
    for source in read_sources() {
        let name = source.path.display();
        if !source.is("ground/wire.rs") && !source.is("target/reply.rs") {
            assert!(!source.code.contains("stdout()"), "{name}");
        }
        for forbidden in ["println!", "print!", "set_var", "sleep("] {
            assert!(!source.code.contains(forbidden), "{name}: {forbidden}");
        }
        // It is not part of a spawn, and runs as root only if root calls.
        let asks = source.is("setup/check/commands.rs");
        assert!(asks || !source.code.contains("Command::new"), "{name}");
        let starts = ["root/hooks/runner.rs", "root/service_manager.rs", "slurm/programs.rs"];
        let may_start = starts.iter().any(|file| source.is(file));
        assert!(may_start || !source.code.contains("Program::new"), "{name}");
    }
}

#[test]
fn the_stages_of_the_flow_can_only_be_made_by_their_own_module() {
    for (stage, file) in [
        ("Target {", "root/policy.rs"),
        ("Prepared {", "root/hooks.rs"),
        ("Unprivileged {", "root/privileges.rs"),
        ("Grant {", "target/grant.rs"),
    ] {
        let source = read_sources().into_iter().find(|source| source.is(file)).unwrap();
        let generic = format!("pub struct {}<", stage.trim_end_matches(" {"));
        let definitions = [format!("pub struct {stage}"), generic];
        let definition = definitions.iter().find_map(|begin| source.code.split_once(begin));
        let (_, body) = definition.unwrap();
        let fields = body.split('}').next().unwrap();
        assert!(!fields.contains("pub"), "{stage} has a field that others can set");
    }
}

/// Removes every module that imports nothing of what is left, until nothing changes. What remains is in a circle
/// or imports one.
fn find_circles(
    mut imports: BTreeMap<String, BTreeSet<String>>,
) -> BTreeMap<String, BTreeSet<String>> {
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.retain(|_, imported| !imported.is_disjoint(&left));
        if imports.len() == left.len() {
            return imports;
        }
    }
}

/// The path of a module in its member; empty for `lib.rs`.
type Module = Vec<String>;

/// The modules of a member that one of its files uses: through `crate::`, `super::`, or the name of a file below
/// its own.
fn used_modules(own: &Module, code: &str, all: &BTreeSet<Module>) -> BTreeSet<Module> {
    let above = &own[..own.len().saturating_sub(1)];
    let uses = |line: &&str| !line.trim_start().trim_start_matches("pub ").starts_with("mod ");
    let code = code.lines().filter(uses).collect::<Vec<_>>().join("\n");
    let mut used = BTreeSet::new();
    for word in code.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')) {
        let parts: Vec<&str> = word.split("::").collect();
        if parts.len() < 2 {
            continue;
        }
        let (base, rest) = match parts.split_first().unwrap() {
            (&"crate", rest) => (&[][..], rest),
            (&"super", rest) => (above, rest),
            _ => (own.as_slice(), parts.as_slice()),
        };
        let mut path = base.to_vec();
        path.extend(rest.iter().map(|part| (*part).to_owned()));
        // The longest prefix that is a file. A name from this file itself is not one.
        while !all.contains(&path) {
            path.pop();
        }
        let is_own_name = base == own.as_slice() && path.len() <= own.len();
        if path != *own && !is_own_name {
            used.insert(path);
        }
    }
    used
}

#[test]
fn no_file_of_a_member_imports_one_that_imports_it() {
    let sources = read_sources();
    let mut found = 0;
    for (member, ..) in MEMBERS {
        let mut files: BTreeMap<Module, &str> = BTreeMap::new();
        for source in sources.iter().filter(|source| source.is_below(member)) {
            let path = source.path.strip_prefix(member).unwrap().with_extension("");
            let module: Module =
                path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            files.insert(if module == ["lib"] { Vec::new() } else { module }, &source.code);
        }
        let all = files.keys().cloned().collect();
        let imports = files.iter().map(|(module, code)| {
            let names =
                |modules: BTreeSet<Module>| modules.iter().map(|one| one.join("::")).collect();
            (module.join("::"), names(used_modules(module, code, &all)))
        });
        let imports: BTreeMap<String, BTreeSet<String>> = imports.collect();
        found += imports.values().map(BTreeSet::len).sum::<usize>();
        let circles = find_circles(imports);
        assert!(circles.is_empty(), "src/{member} has an import circle: {circles:?}");
    }
    assert!(found > 200, "{found} imports");
}

/// The modules of the Python package that a module imports, even inside functions or for type checkers.
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
    let circles = find_circles(imports);
    assert!(circles.is_empty(), "there is an import circle: {circles:?}");
}
