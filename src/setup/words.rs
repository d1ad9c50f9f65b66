//! The command line of a subcommand: named options, each as `--name=value` or `--name value`.

use std::ffi::OsString;

/// Options without a value.
const SWITCHES: [&str; 7] = ["address", "deep", "help", "json", "nodes", "self", "service"];

/// The words after a subcommand. Options are taken out one by one.
#[derive(Debug)]
pub struct Words {
    options: Vec<(String, Option<String>)>,
}

impl Words {
    /// Reads words.
    ///
    /// # Errors
    /// A sentence for a word that is not an option or not UTF-8, and for a missing value.
    pub fn read(words: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Vec::new();
        let mut words = words.map(|word| word.into_string().map_err(|_| "a word is not UTF-8"));
        while let Some(word) = words.next().transpose()? {
            let option = word.strip_prefix("--").filter(|option| !option.is_empty());
            let option = option.ok_or_else(|| format!("{word:?} is not an option"))?;
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None if SWITCHES.contains(&option) => (option, None),
                None => {
                    let value = words.next().transpose()?;
                    (option, Some(value.ok_or_else(|| format!("--{option} needs a value"))?))
                }
            };
            options.push((name.to_owned(), value));
        }
        Ok(Self { options })
    }

    /// Takes out every option of this name.
    pub fn take_all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = self.options.drain(..).partition(|(one, _)| one == name);
        self.options = left;
        let taken: Vec<(String, Option<String>)> = taken;
        taken.into_iter().filter_map(|(_, value)| value).collect()
    }

    /// Takes out an option that may be given once.
    ///
    /// # Errors
    /// A sentence if it is given twice.
    pub fn take(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut values = self.take_all(name);
        match (values.pop(), values.is_empty()) {
            (value, true) => Ok(value),
            (_, false) => Err(format!("the option --{name} is given twice")),
        }
    }

    /// Takes out an option without a value, and returns whether it was there.
    ///
    /// # Errors
    /// A sentence if it has a value.
    pub fn take_switch(&mut self, name: &str) -> Result<bool, String> {
        let is_there = self.options.iter().any(|(one, _)| one == name);
        let values = self.take_all(name);
        if values.is_empty() { Ok(is_there) } else { Err(format!("--{name} takes no value")) }
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// A sentence that names an unknown option.
    pub fn expect_end(&self) -> Result<(), String> {
        match self.options.first() {
            Some((name, _)) => Err(format!("the option --{name} is unknown; see --help")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Words, String> {
        Words::read(words.iter().map(OsString::from))
    }

    #[test]
    fn values_stand_behind_an_equals_sign_or_a_space() {
        let mut words =
            read(&["--user=zoe", "--json", "--user", "wash", "--mode", "root"]).unwrap();
        assert_eq!(words.take_all("user"), ["zoe", "wash"]);
        assert_eq!(words.take("mode"), Ok(Some("root".to_owned())));
        assert_eq!(words.take("unit"), Ok(None));
        assert_eq!(words.take_switch("json"), Ok(true));
        assert_eq!(words.take_switch("self"), Ok(false));
        assert_eq!(words.expect_end(), Ok(()));
    }

    #[test]
    fn what_is_unknown_repeated_or_without_its_value_is_refused() {
        for wrong in [&["zoe"][..], &["--"], &["--user"], &["-u", "zoe"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        assert!(read(&["--mode=user", "--mode=root"]).unwrap().take("mode").is_err());
        assert!(read(&["--json=yes"]).unwrap().take_switch("json").is_err());
        assert!(read(&["--policy=x"]).unwrap().expect_end().is_err());
    }
}
