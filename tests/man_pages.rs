//! The manual pages say what `--help` and the page on the policy say.

#![allow(clippy::unwrap_used)]

mod help;

use std::collections::BTreeSet;

use help::offered_options;
use target::cli;

fn read(path: &str) -> String {
    std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The part of a page between a heading and the next.
fn section(page: &str, heading: &str) -> String {
    let page = read(page);
    let (_, rest) = page.split_once(&format!(".Sh {heading}\n")).unwrap();
    rest.split("\n.Sh ").next().unwrap().to_owned()
}

/// The options of a page: items that begin with the macro for options.
fn documented_options(page: &str) -> BTreeSet<String> {
    options_in(&section(page, "OPTIONS"))
}

/// The options that a part of a page explains.
fn options_in(part: &str) -> BTreeSet<String> {
    part.lines()
        .filter_map(|line| line.strip_prefix(".It Fl "))
        .map(|item| format!("-{}", item.split(' ').next().unwrap().replace("\\-", "-")))
        .collect()
}

#[test]
fn the_pages_have_the_options_of_help_and_no_others() {
    for (page, help) in [
        ("docs/man/sudospawner.8", cli::HELP),
        ("docs/man/jupyterhub-roothooks.1", roothooks::options::HELP),
        ("docs/man/jsd-helper.8", jsd_helper::options::USAGE),
    ] {
        let offered = offered_options(help);
        assert!(offered.len() > 4);
        assert_eq!(documented_options(page), offered, "{page}");
    }
}

#[test]
fn the_page_has_the_options_of_each_subcommand_and_no_others() {
    let subcommands = section("docs/man/sudospawner.8", "SUBCOMMANDS");
    let parts: Vec<&str> = subcommands.split("\n.Ss ").skip(1).collect();
    assert_eq!(parts.len(), 6);
    for part in parts {
        let (name, part) = part.split_once('\n').unwrap();
        let help = read(&format!("src/setup/help/{name}.txt"));
        assert_eq!(options_in(part), offered_options(&help), "{name}");
    }
}

#[test]
fn the_page_of_the_policy_has_every_key_and_no_other() {
    let documented: BTreeSet<String> = section("docs/man/sudospawner-policy.5", "KEYS")
        .lines()
        .filter_map(|line| line.strip_prefix(".It Ic ").map(ToOwned::to_owned))
        .collect();
    let page = read("docs/policy.md");
    let (_, table) = page.split_once("## Keys").unwrap();
    let keys: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_owned()))
        .collect();
    assert!(keys.len() > 20);
    assert_eq!(documented, keys);
}
