//! What a help text offers.

use std::collections::BTreeSet;

/// The options of a help text, but for those that stand for another program's spelling.
pub fn offered_options(help: &str) -> BTreeSet<String> {
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.len() > 2 && word.starts_with("--") && *word != "--RootHooks")
        .map(ToOwned::to_owned)
        .collect()
}
