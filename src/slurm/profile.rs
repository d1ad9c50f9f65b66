//! A profile: a named set of resources that a user may choose.

use std::num::NonZeroU32;

use ground::units::Bytes;
use root::unit_properties::Limits;
use serde::de::{self, Deserialize, Deserializer};

use crate::clock::parse_time;

/// The resources of a job. Each key becomes one option of sbatch(1), in one word, so that no value can become another
/// option.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Its name, which is its key in the file.
    #[serde(skip)]
    pub name: String,
    /// What people read of it.
    #[serde(deserialize_with = "read_word")]
    pub title: Option<String>,
    /// The groups whose members may choose it; empty for everybody.
    pub groups: Vec<String>,
    /// Cores.
    #[serde(deserialize_with = "read_cpus")]
    pub cpus: Option<NonZeroU32>,
    /// Memory.
    pub memory: Option<Bytes>,
    /// The longest time that the job may run, as `--time` has it.
    #[serde(deserialize_with = "read_time")]
    pub time: Option<String>,
    /// `--partition`.
    #[serde(deserialize_with = "read_word")]
    pub partition: Option<String>,
    /// `--account`.
    #[serde(deserialize_with = "read_word")]
    pub account: Option<String>,
    /// `--qos`.
    #[serde(deserialize_with = "read_word")]
    pub qos: Option<String>,
    /// `--constraint`.
    #[serde(deserialize_with = "read_word")]
    pub constraint: Option<String>,
    /// `--gres`.
    #[serde(deserialize_with = "read_word")]
    pub gres: Option<String>,
    /// `--reservation`.
    #[serde(deserialize_with = "read_word")]
    pub reservation: Option<String>,
    /// `--licenses`.
    #[serde(deserialize_with = "read_word")]
    pub licenses: Option<String>,
    /// `--nodelist`.
    #[serde(deserialize_with = "read_word")]
    pub nodelist: Option<String>,
    /// `--exclude`.
    #[serde(deserialize_with = "read_word")]
    pub exclude: Option<String>,
    /// Root's own choice of further options, each in one word.
    #[serde(deserialize_with = "read_options")]
    pub options: Vec<String>,
}

/// A limit that a request may not exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit.
    pub limit: &'static str,
    /// What was asked for.
    pub asked: String,
    /// The most that the profile gives.
    pub ceiling: String,
}

impl Profile {
    /// What people read of it: its title, else its name.
    #[must_use]
    pub fn title(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.name)
    }

    /// Whether a request stays within the profile.
    ///
    /// # Errors
    /// The first limit that it exceeds.
    pub fn check(&self, asked: Limits) -> Result<(), Exceeded> {
        match (asked.memory, self.memory) {
            (Some(asked), Some(Bytes(most))) if asked > most => {
                let (asked, ceiling) = (asked.to_string(), most.to_string());
                return Err(Exceeded { limit: "memory", asked, ceiling });
            }
            _ => {}
        }
        match (asked.cpus, self.cpus) {
            (Some(asked), Some(most)) if asked > f64::from(most.get()) => {
                let (asked, ceiling) = (asked.to_string(), most.to_string());
                Err(Exceeded { limit: "cpus", asked, ceiling })
            }
            _ => Ok(()),
        }
    }

    /// The options of sbatch(1) for a request within this profile.
    #[must_use]
    pub fn list_options(&self, asked: Limits) -> Vec<String> {
        let whole = |cpus: f64| cpus.ceil().max(1.0).to_string();
        let cpus = asked.cpus.map(whole).or_else(|| self.cpus.map(|cpus| cpus.to_string()));
        let memory = asked.memory.or_else(|| self.memory.map(|Bytes(bytes)| bytes));
        // Slurm counts in MiB. Less than one would mean all memory of the node.
        let memory = memory.map(|bytes| format!("{}M", (bytes >> 20).max(1)));
        let chosen = [
            ("cpus-per-task", &cpus),
            ("mem", &memory),
            ("time", &self.time),
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
            ("gres", &self.gres),
            ("reservation", &self.reservation),
            ("licenses", &self.licenses),
            ("nodelist", &self.nodelist),
            ("exclude", &self.exclude),
        ];
        let chosen = chosen
            .into_iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| format!("--{name}={value}")));
        chosen.chain(self.options.iter().cloned()).collect()
    }
}

/// Options with which a job is no server's job any more.
const REFUSED: [&str; 9] = [
    "--array",
    "--wrap",
    "--wait",
    "--test-only",
    "--export",
    "--output",
    "--job-name",
    "--parsable",
    "--input",
];

fn read_options<'de, D: Deserializer<'de>>(list: D) -> Result<Vec<String>, D::Error> {
    let options = Vec::<String>::deserialize(list)?;
    for option in &options {
        let name = option.split('=').next().unwrap_or_default();
        if !name.starts_with("--") || name.len() < 3 || option.contains(char::is_control) {
            return Err(de::Error::custom(
                "options are long options of sbatch, each in one word, as in \"--mail-type=FAIL\"",
            ));
        }
        if REFUSED.contains(&name) {
            return Err(de::Error::custom(format!(
                "{name} cannot be set: sudospawner needs its own"
            )));
        }
    }
    Ok(options)
}

fn read_word<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    refuse_control_characters(String::deserialize(text)?).map(Some).map_err(de::Error::custom)
}

/// Refuses what no word of a command line and no line of text should have.
///
/// # Errors
/// A sentence.
pub fn refuse_control_characters(text: String) -> Result<String, &'static str> {
    let is_text = !text.is_empty() && !text.contains(char::is_control);
    if is_text { Ok(text) } else { Err("a text without control characters is needed") }
}

fn read_time<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(text)?;
    // Zero means no limit.
    match parse_time(&text).filter(|time| !time.is_zero()) {
        Some(_) => Ok(Some(text)),
        None => Err(de::Error::custom(
            "a time is as sbatch has it: \"90\" minutes, \"8:00:00\", \"1-0\"",
        )),
    }
}

fn read_cpus<'de, D: Deserializer<'de>>(number: D) -> Result<Option<NonZeroU32>, D::Error> {
    NonZeroU32::deserialize(number)
        .map(Some)
        .map_err(|_| de::Error::custom("cpus are a whole number of cores, at least 1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::Section;

    fn read(keys: &str) -> Profile {
        let text = format!("[slurm.profiles.small]\n{keys}");
        Section::parse(&text).unwrap().find_profile(Some("small")).unwrap()
    }

    #[test]
    fn each_key_is_one_word_whatever_its_value() {
        let profile = read(
            "cpus = 2\nmemory = '4G'\ntime = '8:00:00'\npartition = 'a b; --wrap=x'\noptions = ['--mail-type=FAIL']",
        );
        assert_eq!(
            profile.list_options(Limits::default()),
            [
                "--cpus-per-task=2",
                "--mem=4096M",
                "--time=8:00:00",
                "--partition=a b; --wrap=x",
                "--mail-type=FAIL"
            ]
        );
        assert_eq!(Profile::default().list_options(Limits::default()), <[&str; 0]>::default());
    }

    #[test]
    fn a_request_may_ask_for_less_and_never_for_more() {
        let profile = read("cpus = 2\nmemory = '4G'");
        let ask = |memory, cpus| Limits { memory, cpus };
        assert!(profile.check(ask(Some(4 << 30), Some(2.0))).is_ok());
        assert_eq!(profile.check(ask(Some((4 << 30) + 1), None)).unwrap_err().limit, "memory");
        assert_eq!(profile.check(ask(None, Some(2.01))).unwrap_err().limit, "cpus");
        let less = profile.list_options(ask(Some(1 << 20), Some(0.5)));
        assert_eq!(less, ["--cpus-per-task=1", "--mem=1M"]);
        // Nothing is the ceiling of what the profile does not name.
        assert!(Profile::default().check(ask(Some(u64::MAX), Some(4096.0))).is_ok());
    }
}
