//! The corpus of the fuzz targets: what was found once is looked at in every run of the tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::arithmetic_side_effects)]

#[path = "../fuzz/src/lib.rs"]
mod checks;

use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut replayed = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // A panic's message does not say which input it was.
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        assert!(outcome.is_ok(), "{} breaks a check, see above", path.display());
        replayed += 1;
    }
    assert!(replayed >= 10, "{replayed} files in {}", folder.display());
}

#[test]
fn every_request_of_the_corpus_is_refused_or_within_its_bounds() {
    replay("request", checks::check_request);
}

#[test]
fn every_policy_of_the_corpus_is_refused_or_can_be_carried_out() {
    replay("policy", checks::check_policy);
}

#[test]
fn every_command_line_of_the_corpus_is_refused_or_names_no_file() {
    replay("command_line", checks::check_command_line);
}
