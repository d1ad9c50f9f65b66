//! `[slurm]` of the policy file. Root keeps the file's text and passes over this section. Who needs it reads it
//! here, and has given up root.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ground::denial::{Denial, POLICY_PATH};
use ground::units::read_path;
use root::policy::file::Policy;
use root::policy::reading::explain;
use serde::de::{self, Deserialize, Deserializer};
use toml::Spanned;

use crate::profile::{Profile, refuse_control_characters};

/// The section. What the file does not set has the defaults given here.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Section {
    /// Where Slurm's programs are, on the submit host and on the nodes. By default they are looked for.
    #[serde(deserialize_with = "read_path")]
    pub programs: Option<PathBuf>,
    /// Slurm's configuration, if its programs do not find it.
    #[serde(deserialize_with = "read_path")]
    pub conf: Option<PathBuf>,
    /// This program's path on the nodes, if it differs.
    #[serde(deserialize_with = "read_path")]
    pub binary: Option<PathBuf>,
    /// The directory of the server's executable on the nodes, if it is not the mediator's.
    #[serde(deserialize_with = "read_path")]
    pub directory: Option<PathBuf>,
    /// The ports that a server may listen on.
    #[serde(deserialize_with = "read_ports")]
    pub ports: RangeInclusive<u16>,
    /// The file that a server's log goes to, with `{home}` and `{job}`.
    #[serde(deserialize_with = "read_output")]
    pub output: String,
    /// Patterns of the variables that the server gets from Slurm, beside those of the request.
    pub environment: Vec<String>,
    /// What users can choose from, in the order of the file. The first is chosen for those who choose nothing.
    #[serde(deserialize_with = "read_profiles")]
    pub profiles: Vec<Profile>,
}

impl Default for Section {
    fn default() -> Self {
        Self {
            programs: None,
            conf: None,
            binary: None,
            directory: None,
            ports: 32768..=60999,
            output: format!("{HOME}/.local/state/sudospawner/slurm-{JOB}.log"),
            environment: Vec::new(),
            profiles: Vec::new(),
        }
    }
}

const HOME: &str = "{home}";
const JOB: &str = "{job}";

impl Section {
    /// Reads the section in the text of a policy. A policy without one gives the defaults.
    ///
    /// # Errors
    /// A sentence with the line and key.
    pub fn parse(policy: &str) -> Result<Self, String> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct File {
            slurm: Section,
        }
        let file: File = toml::from_str(policy).map_err(|error| explain(policy, &error))?;
        Ok(file.slurm)
    }

    /// The profile that a request means; `None` if there is no such one. A policy without profiles has a single one,
    /// without a name and with Slurm's own defaults.
    #[must_use]
    pub fn find_profile(&self, asked: Option<&str>) -> Option<Profile> {
        match asked {
            Some(name) => self.profiles.iter().find(|profile| profile.name == name).cloned(),
            None => Some(self.profiles.first().cloned().unwrap_or_default()),
        }
    }

    /// The path of a job's output, where `job` stands for its number.
    #[must_use]
    pub fn name_output(&self, home: &str, job: &str) -> String {
        self.output.replace(HOME, home).replace(JOB, job)
    }
}

/// The text of root's policy, and its section. There may be no policy in user mode, but then there are no jobs.
///
/// # Errors
/// Those of a policy file.
pub fn load_section() -> Result<(String, Section), Denial> {
    // Only root can have written it, or this fails.
    Policy::load()?;
    let malformed = |reason| Denial::PolicyMalformed { path: POLICY_PATH.into(), reason };
    let text = match std::fs::read_to_string(POLICY_PATH) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(malformed(error.to_string())),
    };
    let section = Section::parse(&text).map_err(malformed)?;
    Ok((text, section))
}

/// Reads `32768-60999`.
fn read_ports<'de, D: Deserializer<'de>>(text: D) -> Result<RangeInclusive<u16>, D::Error> {
    let text = String::deserialize(text)?;
    let (first, last) = text.split_once('-').unwrap_or_default();
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if (1024..=last).contains(&first) => Ok(first..=last),
        _ => Err(de::Error::custom(
            "ports are two numbers from 1024 to 65535, as in \"32768-60999\"",
        )),
    }
}

/// Slurm replaces nothing in a name with a backslash, and `{job}` could not be put into it.
fn read_output<'de, D: Deserializer<'de>>(text: D) -> Result<String, D::Error> {
    let output =
        refuse_control_characters(String::deserialize(text)?).map_err(de::Error::custom)?;
    let rest = output.replace(HOME, "").replace(JOB, "");
    let is_absolute = output.starts_with(HOME) || output.starts_with('/');
    if !is_absolute || !output.contains(JOB) || rest.contains(['{', '}', '\\', '%']) {
        return Err(de::Error::custom(
            "the output is an absolute path, or one below {home}, with {job} in it and without a backslash or percent sign",
        ));
    }
    Ok(output)
}

fn read_profiles<'de, D: Deserializer<'de>>(table: D) -> Result<Vec<Profile>, D::Error> {
    let table = BTreeMap::<String, Spanned<Profile>>::deserialize(table)?;
    let mut profiles: Vec<(usize, Profile)> = Vec::new();
    for (name, profile) in table {
        if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
            let sentence = format!(
                "{name:?} is no name of a profile: it has 1 to 64 bytes, and no control characters"
            );
            return Err(de::Error::custom(sentence));
        }
        let place = profile.span().start;
        profiles.push((place, Profile { name, ..profile.into_inner() }));
    }
    // The library sorts the keys by name.
    profiles.sort_by_key(|(place, _)| *place);
    Ok(profiles.into_iter().map(|(_, profile)| profile).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_keep_the_order_of_the_file_and_the_first_is_for_those_who_choose_nothing() {
        let section = Section::parse(
            "[server]\nlauncher = 'slurm'\n[slurm.profiles.small]\ncpus = 2\n[slurm.profiles.big]\n[slurm.profiles.all]\n",
        );
        let section = section.unwrap();
        let names: Vec<_> = section.profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["small", "big", "all"]);
        assert_eq!(section.find_profile(None).unwrap().name, "small");
        assert_eq!(section.find_profile(Some("big")).unwrap().name, "big");
        assert!(section.find_profile(Some("Big")).is_none());
        assert!(section.find_profile(Some("")).is_none());
    }

    #[test]
    fn a_policy_without_the_section_has_its_defaults() {
        let section = Section::parse("hub_users = ['rhea']").unwrap();
        assert_eq!(section.ports, 32768..=60999);
        let output = section.name_output("/home/zoe", "7");
        assert_eq!(output, "/home/zoe/.local/state/sudospawner/slurm-7.log");
        assert_eq!(section.find_profile(None).unwrap().name, "");
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (text, part) in [
            ("[slurm]\nport = '1-2'", "line 2"),
            ("[slurm]\nports = '80-90'", "(ports)"),
            ("[slurm]\nports = '40000-30000'", "line 2"),
            ("[slurm]\nports = '4000'", "(ports)"),
            ("[slurm]\noutput = 'slurm-{job}.log'", "(output)"),
            ("[slurm]\noutput = '{home}/slurm.log'", "(output)"),
            ("[slurm]\noutput = '/var/log/{user}-{job}'", "(output)"),
            ("[slurm]\noutput = '{home}\\{job}'", "(output)"),
            ("[slurm]\nprograms = 'bin'", "(programs)"),
            ("[slurm.profiles.\"a\\nb\"]", "line 1"),
            ("[slurm.profiles.a]\ncpu = 2", "line 2"),
            ("[slurm.profiles.a]\ncpus = 0", "(cpus)"),
            ("[slurm.profiles.a]\nmemory = '4GB'", "(memory)"),
            ("[slurm.profiles.a]\ntime = 'long'", "(time)"),
            ("[slurm.profiles.a]\ntime = '0'", "(time)"),
            ("[slurm.profiles.a]\npartition = \"a\\nb\"", "(partition)"),
            ("[slurm.profiles.a]\npartition = ''", "(partition)"),
            ("[slurm.profiles.a]\noptions = ['mail-user=root']", "(options)"),
            ("[slurm.profiles.a]\noptions = ['--array=1-3']", "--array"),
            ("[slurm.profiles.a]\noptions = ['--wrap', 'x']", "--wrap"),
        ] {
            let error = Section::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
