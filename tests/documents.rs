//! What the documents say of the program is what the program is.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Every word in backquotes that begins a row of a table.
fn first_cells(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(word, _)| word))
        .map(ToOwned::to_owned)
        .collect()
}

/// The codes, with the exit status of each, as `error.rs` has them.
fn codes() -> BTreeSet<String> {
    let source = read("src/error.rs");
    let (_, body) = source.split_once("pub fn code(&self)").unwrap();
    let (body, _) = body.split_once("pub fn exit_status").unwrap();
    body.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[test]
fn the_protocol_lists_every_code_and_no_other() {
    let protocol = read("docs/protocol.md");
    let (_, failures) = protocol.split_once("## Failures").unwrap();
    assert!(codes().len() > 15);
    assert_eq!(first_cells(failures), codes());
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
fn the_architecture_names_every_module() {
    let architecture = read("docs/architecture.md");
    for entry in std::fs::read_dir(format!("{}/src", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(module) = name.strip_suffix(".rs").filter(|module| *module != "lib") {
            assert!(architecture.contains(&format!("`{module}")), "{module} is not on the map");
        }
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
