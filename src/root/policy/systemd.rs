//! `[systemd]`: the unit of a server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer};

use ground::placeholders::{Directory, MountPath};
use ground::unit_name::{SliceName, UnitTemplate};
use ground::units::read_path;

/// `[systemd]`. [`expand`](ground::placeholders::expand) fills in `{user}` and `{server}` for each server.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Systemd {
    /// The slice of all servers.
    pub slice: SliceName,
    /// The names of their units.
    pub unit_name: UnitTemplate,
    /// The variable SHELL.
    #[serde(deserialize_with = "read_path")]
    pub default_shell: Option<PathBuf>,
    /// What is put in front of PATH.
    pub extra_paths: Vec<Directory>,
    /// Where a server starts, if not in the target's home.
    pub working_directory: Option<Directory>,
    /// Whether each server has its own /tmp.
    pub private_tmp: bool,
    /// Whether a server sees only devices such as /dev/null.
    pub private_devices: bool,
    /// What a server cannot write to.
    pub read_only_paths: Vec<MountPath>,
    /// Exceptions that a server can write to.
    pub read_write_paths: Vec<MountPath>,
    /// Whether jsd-helper may stop the slice.
    pub allow_slice_stop: bool,
    /// Further properties of systemd.directives(7) that root has chosen, set as they are.
    #[serde(deserialize_with = "read_properties")]
    pub properties: Vec<(String, String)>,
}

/// Prefixes of properties that a server's unit cannot have, and why.
const REFUSED: [(&str, &str); 3] = [
    ("ExecStop", ENDED),
    ("ExecReload", ENDED),
    ("Restart", "what a server is started with is there once; the Hub starts it anew"),
];
const ENDED: &str = "what it would run has no stdin and stdout, since the process that gave the unit its own has ended";

/// Reads properties, each with one value or a list of values.
fn read_properties<'de, D: Deserializer<'de>>(table: D) -> Result<Vec<(String, String)>, D::Error> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Values {
        One(String),
        Many(Vec<String>),
    }
    let mut properties = Vec::new();
    for (name, values) in BTreeMap::<String, _>::deserialize(table)? {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Many(values) => values,
        };
        let is_wrong = |value: &String| value.contains(char::is_control);
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) || values.iter().any(is_wrong) {
            return Err(de::Error::custom(format!("{name:?} cannot be a property of a unit")));
        }
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| name.starts_with(refused)) {
            return Err(de::Error::custom(format!("{name} cannot be set: {reason}")));
        }
        properties.extend(values.into_iter().map(|value| (name.clone(), value)));
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {

    #[test]
    fn what_a_second_start_or_the_end_of_a_unit_would_need_cannot_be_set() {
        for name in
            ["Restart", "RestartSec", "ExecStop", "ExecStopPost", "ExecStopEx", "ExecReload"]
        {
            let text = format!("[systemd]\nproperties = {{ {name} = 'x' }}");
            let error = crate::policy::file::Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(&format!("{name} cannot be set")), "{error}");
        }
    }
}
