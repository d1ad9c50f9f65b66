//! The server's environment: exactly what the request says, less what it must not say.

use std::collections::BTreeMap;
use std::ffi::CString;

use crate::error::Error;

/// Without a policy file, this alone is removed, as the Python sudospawner does: with it the
/// caller would choose the code that the server runs.
const REMOVED: [&str; 1] = ["PYTHONPATH"];

/// An environment in the form that execve(2) takes.
#[derive(Debug)]
pub struct Environment {
    /// `NAME=value`, each.
    pub variables: Vec<CString>,
    /// The names that were removed.
    pub dropped: Vec<String>,
}

impl Environment {
    /// Makes the server's environment of the request's.
    ///
    /// # Errors
    /// [`Error::MalformedRequest`] if a variable has a NUL; a parsed request has none.
    pub fn prepare(requested: BTreeMap<String, String>) -> Result<Self, Error> {
        let mut environment = Self { variables: Vec::new(), dropped: Vec::new() };
        for (name, value) in requested {
            if REMOVED.contains(&name.as_str()) {
                environment.dropped.push(name);
                continue;
            }
            let variable = CString::new(format!("{name}={value}"))
                .map_err(|_| Error::MalformedRequest("NUL in env".to_owned()))?;
            environment.variables.push(variable);
        }
        if !environment.dropped.is_empty() {
            log::warn!(
                "not passed on to the server, for security: {}",
                environment.dropped.join(", ")
            );
        }
        Ok(environment)
    }
}
