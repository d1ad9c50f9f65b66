//! What the documents say of the program is what the program is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The contents of every file below a folder, with their paths in the repository.
fn read_all(folder: &str) -> Vec<(String, String)> {
    let place = format!("{}/{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(read_all(&path));
        } else if path.ends_with(".rs") || path.ends_with(".py") {
            files.push((path.clone(), read(&path)));
        }
    }
    files
}

/// The contents of every page of `docs`.
fn read_pages() -> Vec<String> {
    let folder = format!("{}/docs", env!("CARGO_MANIFEST_DIR"));
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".md")).map(|name| read(&format!("docs/{name}"))).collect()
}

/// What stands in backquotes.
fn words_in_backquotes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Every word in backquotes that begins a row of a table.
fn first_cells(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(word, _)| word))
        .map(ToOwned::to_owned)
        .collect()
}

/// The codes, as the errors of each member have them.
fn codes() -> BTreeSet<String> {
    let read_from = |path: &str| {
        let source = read(path);
        let (_, body) = source.split_once("pub fn classify(&self)").unwrap();
        let codes = body.split("=> (\"").skip(1);
        codes.map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    ["src/target/error.rs", "src/ground/denial.rs", "src/slurm/error.rs"]
        .into_iter()
        .flat_map(read_from)
        .collect()
}

#[test]
fn the_protocol_lists_every_code_and_no_other() {
    let protocol = read("docs/protocol.md");
    let (_, failures) = protocol.split_once("## Failures").unwrap();
    assert!(codes().len() > 15);
    assert_eq!(first_cells(failures), codes());
}

#[test]
fn the_class_knows_every_code_and_no_other() {
    let class = read("spawner-py/sudospawner/reply.py");
    let (_, rest) = class.split_once("_CODES = \"\"\"").unwrap();
    let (listed, _) = rest.split_once("\"\"\"").unwrap();
    assert_eq!(listed.split_whitespace().map(ToOwned::to_owned).collect::<BTreeSet<_>>(), codes());
}

#[test]
fn every_code_has_its_paragraph_in_the_troubleshooting() {
    let headings: BTreeSet<String> = read("docs/troubleshooting.md")
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`').map(ToOwned::to_owned))
        .collect();
    for code in codes() {
        assert!(headings.contains(&code), "{code} has no paragraph");
    }
}

#[test]
fn every_code_of_the_class_is_in_a_heading_of_the_troubleshooting() {
    let page = read("docs/troubleshooting.md");
    let headings = page.lines().filter(|line| line.starts_with("### `"));
    let explained: BTreeSet<&str> = headings.flat_map(words_in_backquotes).collect();
    let mut codes = BTreeSet::new();
    for (_, text) in read_all("spawner-py/sudospawner") {
        for begin in ["MediatorError(", "make_failure(", "make_failed_start("] {
            for rest in text.split(begin).skip(1) {
                let literal = rest.trim_start().strip_prefix('"');
                codes.extend(literal.and_then(|rest| rest.split('"').next()).map(str::to_owned));
            }
        }
    }
    assert!(codes.len() > 8);
    for code in codes {
        assert!(explained.contains(code.as_str()), "{code} has no paragraph");
    }
}

#[test]
fn the_policy_page_and_the_example_have_the_same_keys() {
    let mut section = String::new();
    let mut keys = BTreeSet::new();
    for line in read("sudoers/policy.toml").lines() {
        let line = line.trim_start_matches("# ");
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.insert(format!("{section}{key}"));
        }
    }
    let page = read("docs/policy.md");
    let (_, table) = page.split_once("## Keys").unwrap();
    assert!(keys.len() > 20);
    assert_eq!(first_cells(table), keys);
}

/// The codes of findings, as they stand in the sources: the first string behind what begins one.
fn finding_codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (_, text) in read_all("src/setup/check") {
        let code = text.split("#[cfg(test)]").next().unwrap();
        let words: Vec<&str> = code.split_whitespace().collect();
        let joined = words.join(" ");
        for (begin, skipped) in [
            ("Finding::ok( Area::", 1),
            ("Finding::ok(Area::", 1),
            ("Finding::warning( Area::", 1),
            ("Finding::warning(Area::", 1),
            ("Finding::problem( Area::", 1),
            ("Finding::problem(Area::", 1),
            ("Told::ok(", 0),
            ("Told::warning(", 0),
            ("Told::problem(", 0),
            ("let code = ", 0),
            (" problem(", 0),
            ("push(problem(", 0),
            ("vec![problem(", 0),
            ("require( ", 0),
            ("require(", 0),
        ] {
            for rest in joined.split(begin).skip(1) {
                let argument = rest.split(',').nth(skipped).unwrap_or_default().trim();
                let argument = argument.split(';').next().unwrap_or_default();
                if let Some(code) = argument.strip_prefix('"').and_then(|one| one.strip_suffix('"'))
                {
                    codes.insert(code.to_owned());
                }
            }
        }
    }
    codes
}

#[test]
fn the_page_of_the_check_lists_every_code_and_no_other() {
    let page = read("docs/check.md");
    let (_, table) = page.split_once("| code | area |").unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let listed: BTreeSet<String> = cells
        .flat_map(|cell| cell.split(", "))
        .map(|code| code.trim_matches('`').to_owned())
        .collect();
    assert!(listed.len() > 40);
    assert_eq!(listed, finding_codes());
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let page = read("docs/security.md");
    let (_, checks) = page.split_once("## The numbered checks").unwrap();
    let tests = [read_all("tests"), read_all("src")].concat();
    let named: Vec<&str> = words_in_backquotes(checks)
        .filter(|word| word.matches('_').count() > 4 && !word.contains(['=', ' ', '.']))
        .collect();
    assert!(named.len() > 20);
    for name in named {
        let (rust, python) = (format!("fn {name}("), format!("def test_{name}("));
        let exists = tests.iter().any(|(_, text)| text.contains(&rust) || text.contains(&python));
        assert!(exists, "there is no test {name}");
    }
}

#[test]
fn the_architecture_has_a_paragraph_on_every_member() {
    let architecture = read("docs/architecture.md");
    let mut members = 0;
    for entry in std::fs::read_dir(format!("{}/src", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(architecture.contains(&format!("**`src/{name}")), "src/{name} is not on the map");
        members += 1;
    }
    assert!(members > 5);
}

/// What stands in place of each picture that a text shows, and the picture.
fn pictures_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("![").skip(1).filter_map(|rest| rest.split(')').next()?.split_once("]("))
}

#[test]
fn each_picture_is_on_a_page_and_never_without_words_in_its_place() {
    let mut shown = BTreeSet::new();
    let readme = read("README.md").replace("](docs/", "](");
    for page in read_pages().into_iter().chain([readme]) {
        for (words, picture) in pictures_in(&page) {
            assert!(words.len() > 80 && words.ends_with('.'), "{picture}: {words}");
            shown.insert(picture.trim_start_matches("pictures/").to_owned());
        }
    }
    let folder = format!("{}/docs/pictures", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap();
    let files: BTreeSet<String> =
        files.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let (texts, pictures): (BTreeSet<_>, BTreeSet<_>) =
        files.into_iter().partition(|name| name.ends_with(".dot"));
    assert!(pictures.len() > 6);
    assert_eq!(shown, pictures);
    for text in texts {
        assert!(pictures.contains(&text.replace(".dot", ".svg")), "{text}");
    }
}

#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    let readme = read("README.md");
    assert!(readme.lines().count() < 100);
    for link in readme.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        if !link.starts_with("https://") {
            let path = format!("{}/{link}", env!("CARGO_MANIFEST_DIR"));
            assert!(std::path::Path::new(&path).exists(), "{link}");
        }
    }
}
