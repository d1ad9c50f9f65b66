//! Reads the policy file: only if it is root's, and only if all of it is understood.

use std::io::Read;
use std::path::Path;

use super::file::{PATH, Policy, find_resource};
use crate::error::Error;
use crate::trusted_file::{Distrust, open_trusted};

/// A policy is at most this large, in bytes.
const MAX_BYTES: u64 = 64 * 1024;

impl Policy {
    /// What applies where there is no file: the behaviour of the Python sudospawner.
    #[must_use]
    pub fn without_file() -> Self {
        let mut policy = Self::default();
        policy.targets.min_uid = 1;
        policy.server.umask = None;
        policy.environment.remove = vec!["PYTHONPATH".to_owned()];
        policy.limits.open_files = None;
        policy
    }

    /// Reads the policy file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::PolicyUntrusted`], [`Error::PolicyUnreadable`] and [`Error::PolicyMalformed`].
    pub fn load() -> Result<Option<Self>, Error> {
        Self::load_from(Path::new(PATH))
    }

    fn load_from(path: &Path) -> Result<Option<Self>, Error> {
        let file = match open_trusted(path) {
            Ok((file, _)) => file,
            Err(Distrust::Missing(_)) => return Ok(None),
            Err(Distrust::Closed(path, errno)) => {
                return Err(Error::PolicyUnreadable { path, errno });
            }
            Err(distrust) => return Err(Error::PolicyUntrusted(distrust.to_string())),
        };
        let malformed = |reason: String| Error::PolicyMalformed { path: path.to_owned(), reason };
        let mut text = String::new();
        file.take(MAX_BYTES.saturating_add(1))
            .read_to_string(&mut text)
            .map_err(|error| malformed(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("it is larger than {MAX_BYTES} bytes")));
        }
        Self::parse(&text).map(Some).map_err(malformed)
    }

    /// Parses the text of a policy.
    ///
    /// # Errors
    /// A sentence that names line and key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|error| describe(text, &error))?;
        policy.check()?;
        Ok(policy)
    }

    /// What types cannot say.
    fn check(&self) -> Result<(), String> {
        if self.targets.min_uid == 0 {
            return Err("targets.min_uid has to be at least 1: root is never a target".to_owned());
        }
        let cannot_be = |(name, value): &(&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        if let Some((name, _)) = self.environment.set.iter().find(cannot_be) {
            return Err(format!("environment.set has a name or value that cannot be: {name:?}"));
        }
        if let Some(name) = self.limits.rlimits.keys().find(|name| find_resource(name).is_none()) {
            return Err(format!("limits.rlimits has an unknown name: {name:?}"));
        }
        Ok(())
    }
}

/// Line, message and key; the library's own display shows the line's text, on several lines.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let above = before.matches('\n').count();
    let key = text.lines().nth(above).and_then(|line| line.split_once('='));
    let key = key.map_or_else(String::new, |(key, _)| format!(" ({})", key.trim()));
    format!("line {}: {}{key}", above.saturating_add(1), error.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_policy_and_says_the_defaults() {
        let example = Policy::parse(include_str!("../../sudoers/policy.toml")).unwrap();
        let default = Policy::default();
        assert_eq!(format!("{:?}", example.hooks), format!("{:?}", default.hooks));
        assert_eq!(format!("{:?}", example.server), format!("{:?}", default.server));
        assert_eq!(format!("{:?}", example.environment), format!("{:?}", default.environment));
        assert_eq!(format!("{:?}", example.limits), format!("{:?}", default.limits));
        assert_eq!(format!("{:?}", example.systemd), format!("{:?}", default.systemd));
        assert_eq!(example.hub_users, ["rhea"]);
    }

    #[test]
    fn the_unit_of_a_server_is_said_in_the_words_of_systemdspawner() {
        let policy = Policy::parse(
            r#"
            [server]
            launcher = "systemd"
            [limits]
            cpus = 2
            [systemd]
            slice = "jhub"
            unit_name = "jupyter-{USERNAME}-singleuser"
            extra_paths = ["/opt/{user}/bin"]
            read_only_paths = ["-/data", "/srv/{USERNAME}"]
            properties = { Nice = "5", ReadOnlyPaths = ["/a", "/b"] }
            "#,
        );
        let policy = policy.unwrap();
        assert_eq!(policy.limits.cpus, Some(2.0));
        assert_eq!(policy.systemd.slice.as_str(), "jhub.slice");
        let properties = [("Nice", "5"), ("ReadOnlyPaths", "/a"), ("ReadOnlyPaths", "/b")];
        assert_eq!(
            policy.systemd.properties,
            properties.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_line_and_key() {
        for (text, part) in [
            ("hub_users = []\nhub_user = []", "line 2"),
            ("[targets]\nmin_uid = 0", "targets.min_uid"),
            ("[targets]\nmin_uids = 0", "min_uids"),
            ("[hooks]\ndir = 'hooks.d'", "line 2: a path has to be absolute (dir)"),
            ("[server]\ndirectory = 'bin'", "(directory)"),
            ("[hooks]\ntimeout_seconds = 0", "(timeout_seconds)"),
            ("[hooks]\ntimeout_seconds = 1e-12", "line 2"),
            ("[hooks]\ntimeout_seconds = -1.5", "line 2"),
            ("[hooks]\ntimeout_seconds = 1e999", "line 2"),
            ("[hooks]\ntimeout_seconds = 3601", "line 2"),
            ("[hooks]\non_failure = 'ignore'", "line 2"),
            ("[server]\numask = '0999'", "octal"),
            ("[server]\nlauncher = 'magic'", "line 2"),
            ("[limits]\nmemory = 1000", "1 MiB"),
            ("[limits]\ncpus = nan", "(cpus)"),
            ("[limits]\ncpus = 0.001", "line 2"),
            ("[systemd]\nslice = '-.slice'", "(slice)"),
            ("[systemd]\nunit_name = 'jupyter-{server}'", "(unit_name)"),
            ("[systemd]\ndefault_shell = 'bash'", "(default_shell)"),
            ("[systemd]\nextra_paths = ['/a:/b']", "(extra_paths)"),
            ("[systemd]\nextra_paths = ['-/a']", "(extra_paths)"),
            ("[systemd]\nworking_directory = '/data/{USERID}'", "(working_directory)"),
            ("[systemd]\nread_only_paths = ['data']", "(read_only_paths)"),
            ("[systemd]\nread_write_paths = ['+/data']", "(read_write_paths)"),
            ("[systemd]\nprivate_tmp = 'yes'", "(private_tmp)"),
            ("[systemd]\nproperties = { 'Exec Start' = 'x' }", "\"Exec Start\""),
            ("[systemd]\nproperties = { Nice = 5 }", "(properties)"),
            ("[systemd]\nproperties = { A = \"b\\nC=d\" }", "\"A\""),
            ("[systemd]\ndynamic_users = true", "dynamic_users"),
            ("[limits]\nrlimits = { files = 3 }", "files"),
            ("[environment]\nset = { 'A=B' = 'c' }", "environment.set"),
            ("hub_users = ['a']\nhub_users = ['b']", "line 2"),
        ] {
            let error = Policy::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
