//! The options as written, each at most once.

use std::ffi::OsString;

use crate::failure::{Failure, usage};

/// Everything that can be given once, as written.
#[derive(Default)]
pub struct Words {
    pub hooks_dir: Option<OsString>,
    pub uid: Option<OsString>,
    pub gid: Option<OsString>,
    pub groups: Option<OsString>,
    pub timeout: Option<OsString>,
    pub level: Option<OsString>,
    /// traitlets' format of log lines, which we do not use.
    log_format: Option<OsString>,
    log_datefmt: Option<OsString>,
}

impl Words {
    /// The place for an option's value; `None` if there is no such option.
    pub fn place(&mut self, option: &str) -> Option<&mut Option<OsString>> {
        let (class, name) = option.rsplit_once('.').unwrap_or(("", option));
        Some(match (class, name.replace('-', "_").as_str()) {
            ("" | "RootHooks", "hooks_dir") => &mut self.hooks_dir,
            ("" | "RootHooks", "uid") => &mut self.uid,
            ("" | "RootHooks", "gid") => &mut self.gid,
            ("", "groups") => &mut self.groups,
            ("" | "RootHooks", "hook_timeout") => &mut self.timeout,
            ("" | "RootHooks" | "Application", "log_level") => &mut self.level,
            ("RootHooks" | "Application", "log_format") => &mut self.log_format,
            ("RootHooks" | "Application", "log_datefmt") => &mut self.log_datefmt,
            _ => return None,
        })
    }
}

/// Stores the value of an option.
///
/// # Errors
/// [`Failure::Usage`] if the option already has one.
pub fn set_once(place: &mut Option<OsString>, text: &str, value: OsString) -> Result<(), Failure> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(usage(&format!("{text}: an option is given twice"))),
    }
}
