//! The properties that may be asked for: a closed list, with a type for each value.
//!
//! A property such as `ExecStartPre=+/bin/sh` runs as root whatever the unit's user is. So no property is
//! passed on that is not on the list, and each value is parsed and written anew.

mod ceiling;

use ground::placeholders::quote;
use ground::units::{find_resource, parse_bytes, to_quota};
use root::unit_properties::Property;

/// No limit; systemd's `infinity`.
const INFINITY: u64 = u64::MAX;

/// A property that was asked for. It is on the closed list, and its value has the right type.
#[derive(Debug)]
pub struct Wish {
    /// Its current name, not an older one.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The value of a property that was asked for.
#[derive(Debug)]
pub enum Value {
    /// Bytes of memory or swap, tasks, or what setrlimit(2) counts.
    Amount(u64),
    /// A number of CPUs.
    Cpus(f64),
    /// Yes or no.
    Switch(bool),
    /// Absolute paths, each with a `-` in front if it need not exist.
    Paths(Vec<String>),
    /// A word of a list, an octal mode, or a text that is checked elsewhere.
    Text(String),
}

/// Reads all properties on a command line.
///
/// # Errors
/// A sentence: a property is not on the list, has a wrong value, or is repeated.
pub fn read_wishes(texts: &[String]) -> Result<Vec<Wish>, String> {
    let mut wishes: Vec<Wish> = Vec::new();
    for text in texts {
        let wish = Wish::parse(text)?;
        let is_list = matches!(wish.value, Value::Paths(_));
        if !is_list && wishes.iter().any(|other| other.name == wish.name) {
            return Err(format!("the property {} is given twice", wish.name));
        }
        wishes.push(wish);
    }
    Ok(wishes)
}

impl Wish {
    /// Reads `NAME=VALUE`. The names are those of systemd.directives(7), and two older ones.
    ///
    /// # Errors
    /// A sentence: the name is not on the list, or the value does not have its type.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, text) = text.split_once('=').ok_or("a property is NAME=VALUE")?;
        let name = match name {
            "ReadOnlyDirectories" => "ReadOnlyPaths",
            "ReadWriteDirectories" => "ReadWritePaths",
            name => name,
        };
        let value = match name {
            "MemoryMax" => read_amount(text, 1 << 20),
            "MemorySwapMax" => read_amount(text, 0),
            "CPUQuota" => read_quota(text),
            "TasksMax" => read_amount(text, 1),
            "OOMPolicy" => read_word(text, &["continue", "stop", "kill"]),
            "MemoryAccounting" | "CPUAccounting" => read_switch(text),
            "PrivateTmp" | "PrivateDevices" | "NoNewPrivileges" => read_switch(text),
            "ReadOnlyPaths" | "ReadWritePaths" => read_paths(text),
            "RuntimeDirectory" | "EnvironmentFile" => Some(Value::Text(text.to_owned())),
            "RuntimeDirectoryMode" => read_mode(text),
            "RuntimeDirectoryPreserve" => read_word(text, &["no", "yes", "restart"]),
            name if is_process_limit(name) => read_amount(text, 0),
            _ => return Err(format!("the property {name:?} is not one that may be set")),
        };
        let wrong = || format!("the property {name} has a value that it cannot have here");
        Ok(Self { name: name.to_owned(), value: value.ok_or_else(wrong)? })
    }

    /// The property in the form for systemd-run(1).
    #[must_use]
    pub fn to_property(&self) -> Property {
        let value = match &self.value {
            Value::Amount(INFINITY) => "infinity".to_owned(),
            Value::Amount(amount) => amount.to_string(),
            Value::Cpus(cpus) => to_quota(*cpus),
            Value::Switch(is_set) => if *is_set { "yes" } else { "no" }.to_owned(),
            Value::Paths(paths) => {
                paths.iter().map(|path| quote(path)).collect::<Vec<_>>().join(" ")
            }
            Value::Text(text) => text.clone(),
        };
        (self.name.clone(), value)
    }
}

/// Whether this is a limit of setrlimit(2) that the policy knows, in systemd's spelling with capital letters.
fn is_process_limit(name: &str) -> bool {
    let limit = name.strip_prefix("Limit").unwrap_or_default();
    let is_upper = limit.bytes().all(|byte| byte.is_ascii_uppercase());
    is_upper && find_resource(&limit.to_ascii_lowercase()).is_some()
}

fn read_amount(text: &str, least: u64) -> Option<Value> {
    let amount = match text {
        "infinity" => Some(INFINITY),
        // `parse_bytes` would accept a sign.
        _ => parse_bytes(text).filter(|_| !text.starts_with('+')),
    };
    amount.filter(|amount| *amount >= least).map(Value::Amount)
}

fn read_quota(text: &str) -> Option<Value> {
    let digits = text.strip_suffix('%')?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = digits.parse().ok().filter(|_| is_number)?;
    (1.0..=409_600.0).contains(&percent).then_some(Value::Cpus(percent / 100.0))
}

fn read_switch(text: &str) -> Option<Value> {
    match text {
        "yes" | "true" | "on" | "1" => Some(Value::Switch(true)),
        "no" | "false" | "off" | "0" => Some(Value::Switch(false)),
        _ => None,
    }
}

fn read_word(text: &str, words: &[&str]) -> Option<Value> {
    words.contains(&text).then(|| Value::Text(text.to_owned()))
}

fn read_mode(text: &str) -> Option<Value> {
    let is_octal = text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
    (mode & !0o755 == 0).then(|| Value::Text(format!("{mode:04o}")))
}

fn read_paths(text: &str) -> Option<Value> {
    let paths: Vec<_> = text.split(' ').map(str::to_owned).collect();
    paths.iter().all(|path| is_mount_path(path)).then_some(Value::Paths(paths))
}

/// Whether this is one absolute path for systemd.exec(5), without characters that a shell would interpret.
fn is_mount_path(text: &str) -> bool {
    let path = text.strip_prefix('-').unwrap_or(text);
    let is_plain = |c: char| !(c.is_control() || c.is_whitespace() || "\"'\\".contains(c));
    let has_dots = path.split('/').any(|part| part == "." || part == "..");
    path.starts_with('/') && path.chars().all(is_plain) && !has_dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_for_is_passed_on_with_its_value_written_anew() {
        for (text, property) in [
            ("MemoryMax=2G", "MemoryMax=2147483648"),
            ("MemoryMax=infinity", "MemoryMax=infinity"),
            ("CPUQuota=50%", "CPUQuota=50.00%"),
            ("CPUQuota=12.5%", "CPUQuota=12.50%"),
            ("TasksMax=10", "TasksMax=10"),
            ("OOMPolicy=stop", "OOMPolicy=stop"),
            ("PrivateTmp=true", "PrivateTmp=yes"),
            ("ReadOnlyDirectories=/", "ReadOnlyPaths=\"/\""),
            ("ReadWriteDirectories=-/a /b", "ReadWritePaths=\"-/a\" \"/b\""),
            ("RuntimeDirectoryMode=755", "RuntimeDirectoryMode=0755"),
            ("LimitNOFILE=1024", "LimitNOFILE=1024"),
            ("LimitCORE=0", "LimitCORE=0"),
        ] {
            let (name, value) = Wish::parse(text).unwrap().to_property();
            assert_eq!(format!("{name}={value}"), property);
        }
    }

    #[test]
    fn a_property_that_is_not_on_the_list_or_has_another_value_is_refused() {
        for text in [
            "",
            "MemoryMax",
            "=1",
            "ExecStartPre=+/bin/sh",
            "ExecStart=/bin/sh",
            "User=root",
            "Slice=system.slice",
            "AmbientCapabilities=CAP_SYS_ADMIN",
            "Environment=A=b",
            "memorymax=1G",
            "MemoryMax =1G",
            "MemoryMax=",
            "MemoryMax=50%",
            "MemoryMax=1000",
            "MemoryMax=-1",
            "MemoryMax=+2G",
            "MemoryMax=1G\nExecStartPre=+/bin/sh",
            "MemoryMax=99999999999T",
            "CPUQuota=",
            "CPUQuota=50",
            "CPUQuota=nan%",
            "CPUQuota=inf%",
            "CPUQuota=1e3%",
            "CPUQuota=0%",
            "TasksMax=0",
            "OOMPolicy=",
            "OOMPolicy=continue\n",
            "PrivateTmp=disconnected",
            "PrivateTmp=",
            "ReadOnlyPaths=",
            "ReadOnlyPaths=data",
            "ReadOnlyPaths=+/data",
            "ReadOnlyPaths=/a  /b",
            "ReadOnlyPaths=/a/../b",
            "ReadOnlyPaths=\"/a\"",
            "ReadOnlyPaths=/a\\x20",
            "ReadOnlyPaths=/a\t/b",
            "InaccessiblePaths=/a",
            "BindPaths=/a:/b",
            "RuntimeDirectoryMode=777",
            "RuntimeDirectoryMode=4755",
            "RuntimeDirectoryMode=+755",
            "RuntimeDirectoryMode=0888",
            "LimitNofile=1",
            "LimitRTTIME=1",
            "LimitNOFILE=1:2",
            "Limit=1",
        ] {
            assert!(Wish::parse(text).is_err(), "{text:?}");
        }
    }
}
