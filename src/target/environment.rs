//! The server's environment: the request's variables without those that the policy removes, and with those
//! that it sets.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;

use crate::error::Error;
use crate::grant::Whom;
use ground::placeholders::expand;
use ground::server_name::ServerName;
use root::policy::file;
use root::policy::systemd::Systemd;

/// How many bytes of variables a session can have.
const MOST_OF_SESSION: u64 = 256 * 1024;

/// An environment in the form for execve(2).
#[derive(Debug)]
pub struct Environment {
    /// `NAME=value` each.
    pub variables: Vec<CString>,
    /// The names from the request that were not passed on.
    pub dropped: Vec<String>,
}

impl Environment {
    /// Makes the server's environment from the request's, by the rules of the policy. What says whose account it is
    /// comes from the account, if the request leaves it out.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] if a variable contains NUL. A parsed request contains none.
    pub fn prepare(
        requested: BTreeMap<String, String>,
        rules: &file::Environment,
        whom: Option<&Whom>,
        unit: Option<&UnitEdits<'_>>,
    ) -> Result<Self, Error> {
        let (mut passed, dropped): (BTreeMap<_, _>, BTreeMap<_, _>) =
            requested.into_iter().partition(|(name, _)| is_passed(name, rules));
        let dropped: Vec<String> = dropped.into_keys().collect();
        for (name, value) in whom.into_iter().flat_map(list_own) {
            if !value.is_empty() && is_passed(name, rules) {
                passed.entry(name.to_owned()).or_insert(value);
            }
        }
        passed.extend(rules.set.clone());
        if let Some(unit) = unit {
            unit.apply(&mut passed);
        }
        let variables = passed
            .into_iter()
            .map(|(name, value)| {
                CString::new(format!("{name}={value}"))
                    .map_err(|_| Error::MalformedRequest("NUL in env".to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { variables, dropped })
    }
}

/// What login(1) would set.
fn list_own(whom: &Whom) -> [(&'static str, String); 4] {
    [
        ("HOME", whom.home.display().to_string()),
        ("USER", whom.name.clone()),
        ("LOGNAME", whom.name.clone()),
        ("SHELL", whom.shell.display().to_string()),
    ]
}

/// Adds the variables of a session of PAM's that the request does not have: in `file`, with a NUL after each. What is
/// no text is left out.
pub fn add_variables(requested: &mut BTreeMap<String, String>, file: &mut File) {
    let mut bytes = Vec::new();
    let _ = file.take(MOST_OF_SESSION).read_to_end(&mut bytes);
    for variable in
        bytes.split_inclusive(|byte| *byte == 0).filter_map(|one| one.strip_suffix(b"\0"))
    {
        let text = std::str::from_utf8(variable).ok();
        if let Some((name, value)) = text.and_then(|text| text.split_once('=')) {
            requested.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
}

/// What `[systemd]` changes for a server in a unit, as in SystemdSpawner.
#[derive(Debug)]
pub struct UnitEdits<'a> {
    /// The policy's section.
    pub systemd: &'a Systemd,
    /// The target's name.
    pub user: &'a str,
    /// The server's name.
    pub server: &'a ServerName,
}

impl UnitEdits<'_> {
    fn apply(&self, variables: &mut BTreeMap<String, String>) {
        if let Some(shell) = &self.systemd.default_shell {
            variables.insert("SHELL".to_owned(), shell.display().to_string());
        }
        let extra = self.systemd.extra_paths.iter();
        let mut paths: Vec<_> = extra.map(|path| expand(&path.0, self.user, self.server)).collect();
        if !paths.is_empty() {
            paths.extend(variables.remove("PATH").filter(|path| !path.is_empty()));
            variables.insert("PATH".to_owned(), paths.join(":"));
        }
    }
}

fn is_passed(name: &str, rules: &file::Environment) -> bool {
    !is_in(&rules.remove, name) && rules.keep.as_deref().is_none_or(|keep| is_in(keep, name))
}

/// Whether a name matches one of these patterns.
#[must_use]
pub fn is_in(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether a name matches a pattern, where `*` stands for any text and `?` for one character.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // Which prefixes of the pattern match the part of the name read so far.
    let mut reached = vec![false; pattern.len().saturating_add(1)];
    let pass_stars = |reached: &mut [bool]| {
        for (place, sign) in pattern.iter().enumerate() {
            if *sign == '*' && reached.get(place) == Some(&true) {
                if let Some(next) = reached.get_mut(place.saturating_add(1)) {
                    *next = true;
                }
            }
        }
    };
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    pass_stars(&mut reached);
    for letter in name.chars() {
        let mut next = vec![false; reached.len()];
        for ((place, sign), was_reached) in pattern.iter().enumerate().zip(&reached) {
            let stays = if *sign == '*' { place } else { place.saturating_add(1) };
            if *was_reached && (['*', '?'].contains(sign) || *sign == letter) {
                if let Some(cell) = next.get_mut(stays) {
                    *cell = true;
                }
            }
        }
        reached = next;
        pass_stars(&mut reached);
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Uid;

    #[test]
    fn stars_and_question_marks_stand_for_text_and_a_character() {
        for (pattern, name, expected) in [
            ("PATH", "PATH", true),
            ("PATH", "PATHS", false),
            ("PATH", "XPATH", false),
            ("JUPYTERHUB_*", "JUPYTERHUB_API_TOKEN", true),
            ("JUPYTERHUB_*", "JUPYTERHUB_", true),
            ("JUPYTERHUB_*", "JUPYTERHUB", false),
            ("*", "", true),
            ("", "", true),
            ("", "A", false),
            ("LD_?????", "LD_AUDIT", true),
            ("LD_?????", "LD_PRELOAD", false),
            ("*A*B*", "xxAxxBxx", true),
            ("*A*B*", "xxBxxAxx", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} {name:?}");
        }
    }

    fn prepare(names: &[&str], rules: &file::Environment) -> (Vec<String>, Vec<String>) {
        prepare_for(None, names, rules)
    }

    fn prepare_for(
        whom: Option<&Whom>,
        names: &[&str],
        rules: &file::Environment,
    ) -> (Vec<String>, Vec<String>) {
        let requested = names.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        let environment = Environment::prepare(requested, rules, whom, None).unwrap();
        let text = |variable: CString| variable.into_string().unwrap();
        (environment.variables.into_iter().map(text).collect(), environment.dropped)
    }

    #[test]
    fn what_chooses_code_is_removed_by_default() {
        let (variables, dropped) =
            prepare(&["PATH", "LD_PRELOAD", "PYTHONPATH", "ENV"], &file::Environment::default());
        assert_eq!(variables, ["PATH=x"]);
        assert_eq!(dropped, ["ENV", "LD_PRELOAD", "PYTHONPATH"]);
    }

    #[test]
    fn what_says_whose_account_it_is_comes_from_the_account_unless_request_or_policy_has_it() {
        let remove = vec!["USER".to_owned()];
        let set = BTreeMap::from([("LOGNAME".to_owned(), "root's".to_owned())]);
        let rules = file::Environment { remove, set, ..Default::default() };
        let (uid, home, shell) = (Uid::from_raw(1), "/home/zoe".into(), "/bin/sh".into());
        let mut zoe = Whom { name: "zoe".to_owned(), uid, home, shell };
        let (variables, dropped) = prepare_for(Some(&zoe), &["HOME"], &rules);
        assert_eq!(variables, ["HOME=x", "LOGNAME=root's", "SHELL=/bin/sh"]);
        assert!(dropped.is_empty());
        let rules = file::Environment { keep: Some(vec!["HOME".to_owned()]), ..rules };
        zoe.shell = "".into();
        let (variables, dropped) = prepare_for(Some(&zoe), &["SHELL"], &rules);
        assert_eq!(variables, ["HOME=/home/zoe", "LOGNAME=root's"]);
        assert_eq!(dropped, ["SHELL"]);
    }

    #[test]
    fn with_a_list_of_what_to_keep_nothing_else_passes_and_removal_still_counts() {
        let rules = file::Environment {
            keep: Some(vec!["P*".to_owned()]),
            set: BTreeMap::from([("PATH".to_owned(), "root's".to_owned())]),
            ..Default::default()
        };
        let (variables, dropped) = prepare(&["PATH", "PYTHONPATH", "LANG"], &rules);
        assert_eq!(variables, ["PATH=root's"]);
        assert_eq!(dropped, ["LANG", "PYTHONPATH"]);
    }
}
