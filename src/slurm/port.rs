//! The port of a server on its node.

use std::ffi::CString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use target::request::{Spawn, Wait};

use crate::error::Error;

/// What stands for the port in arguments and variables.
const PLACEHOLDER: &str = "{port}";

/// A port that nobody listens on now, chosen at random.
///
/// # Errors
/// [`Error::NoPort`].
pub fn find_port(ports: &RangeInclusive<u16>) -> Result<u16, Error> {
    let count = u64::from(ports.end().saturating_sub(*ports.start())).saturating_add(1);
    let first = RandomState::new().build_hasher().finish();
    for step in 0..count {
        let offset = first.wrapping_add(step).checked_rem(count).unwrap_or(0);
        let port = ports.start().saturating_add(u16::try_from(offset).unwrap_or(0));
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Error::NoPort { first: *ports.start(), last: *ports.end() })
}

/// Puts the port where the request has the placeholder.
#[must_use]
pub fn put_port(mut spawn: Spawn, port: u16) -> Spawn {
    let digits = port.to_string();
    let put = |text: &str| text.replace(PLACEHOLDER, &digits);
    spawn.args = spawn
        .args
        .into_iter()
        .map(|arg| match arg.to_str() {
            Ok(text) if text.contains(PLACEHOLDER) => CString::new(put(text)).unwrap_or(arg),
            _ => arg,
        })
        .collect();
    spawn.env.values_mut().for_each(|value| *value = put(value));
    spawn.wait = spawn.wait.map(|wait| Wait { port: Some(port), ..wait });
    (spawn.profile, spawn.limits) = Default::default();
    spawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use target::request::Request;

    fn read(text: &str) -> Spawn {
        match Request::parse(text.as_bytes()).unwrap() {
            Request::Spawn(spawn) => spawn,
            _ => unreachable!("it is a spawn"),
        }
    }

    #[test]
    fn the_port_is_put_into_arguments_and_values_and_never_into_names() {
        let text = r#"{"action":"spawn","args":["--port={port}","{port}{port}","{ports}"],
            "env":{"URL":"http://0.0.0.0:{port}/","{port}":"x"},"wait":{"seconds":9},"profile":"p"}"#;
        let spawn = put_port(read(text), 4002);
        let args: Vec<_> = spawn.args.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(args, ["--port=4002", "40024002", "{ports}"]);
        assert_eq!(spawn.env["URL"], "http://0.0.0.0:4002/");
        assert_eq!(spawn.env["{port}"], "x");
        assert_eq!(spawn.wait.unwrap().port, Some(4002));
        assert_eq!(spawn.profile, None);
    }

    #[test]
    fn a_port_that_is_taken_is_not_found() {
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(matches!(find_port(&(port..=port)), Err(Error::NoPort { .. })));
        drop(taken);
        assert_eq!(find_port(&(port..=port)).unwrap(), port);
    }
}
