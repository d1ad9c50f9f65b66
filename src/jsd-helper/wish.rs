//! The properties that may be asked for: a closed list, each with a value of its type.
//!
//! A property such as `ExecStartPre=+/bin/sh` runs as root whatever the unit's user is; hence no property
//! is passed on that is not known here, and each value is read and written anew.

mod ceiling;

use root::policy::units::find_resource;
use root::policy::units::parse_bytes;
use root::unit_properties::{Property, quote, to_quota};

/// What stands for no limit, in systemd's words `infinity`.
const INFINITY: u64 = u64::MAX;

/// What `jsd-helper` may ask for, by the names of systemd.directives(7) and by their older ones, with the
/// name that is used.
const ADMITTED: [(&str, &str, Kind); 18] = [
    ("MemoryMax", "MemoryMax", Kind::Memory),
    ("MemorySwapMax", "MemorySwapMax", Kind::Swap),
    ("CPUQuota", "CPUQuota", Kind::Cpus),
    ("TasksMax", "TasksMax", Kind::Tasks),
    ("OOMPolicy", "OOMPolicy", Kind::Word(&["continue", "stop", "kill"])),
    ("MemoryAccounting", "MemoryAccounting", Kind::Switch),
    ("CPUAccounting", "CPUAccounting", Kind::Switch),
    ("PrivateTmp", "PrivateTmp", Kind::Switch),
    ("PrivateDevices", "PrivateDevices", Kind::Switch),
    ("NoNewPrivileges", "NoNewPrivileges", Kind::Switch),
    ("ReadOnlyPaths", "ReadOnlyPaths", Kind::Paths),
    ("ReadOnlyDirectories", "ReadOnlyPaths", Kind::Paths),
    ("ReadWritePaths", "ReadWritePaths", Kind::Paths),
    ("ReadWriteDirectories", "ReadWritePaths", Kind::Paths),
    ("RuntimeDirectory", "RuntimeDirectory", Kind::Text),
    ("RuntimeDirectoryMode", "RuntimeDirectoryMode", Kind::Mode),
    ("RuntimeDirectoryPreserve", "RuntimeDirectoryPreserve", Kind::Word(&["no", "yes", "restart"])),
    ("EnvironmentFile", "EnvironmentFile", Kind::Text),
];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Memory,
    Swap,
    Cpus,
    Tasks,
    Rlimit,
    Switch,
    Paths,
    Mode,
    Text,
    Word(&'static [&'static str]),
}

/// A property that was asked for: one of the closed list, with a value of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Its name, never an older one.
    pub name: String,
    /// Its value.
    pub value: Value,
}

/// The value of a property that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Bytes of memory or swap, tasks, or what setrlimit(2) counts.
    Amount(u64),
    /// A number of CPUs.
    Cpus(f64),
    /// Yes or no.
    Switch(bool),
    /// Absolute paths, each with a `-` in front if it need not exist.
    Paths(Vec<String>),
    /// The mode of a directory.
    Mode(u32),
    /// What is looked at elsewhere, or a word of a list.
    Text(String),
}

impl Wish {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// A sentence: the name is not on the list, or the value is not of its type.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("a property is NAME=VALUE")?;
        let admitted = ADMITTED.iter().find(|(admitted, ..)| *admitted == name);
        let (name, kind) = match (admitted, name.strip_prefix("Limit")) {
            (Some((_, name, kind)), _) => ((*name).to_owned(), *kind),
            (None, Some(limit)) if find_rlimit(limit).is_some() => (name.to_owned(), Kind::Rlimit),
            _ => return Err(format!("the property {name:?} is not one that may be set")),
        };
        let value = kind.read(value);
        let wrong = || format!("the property {name} has a value that it cannot have here");
        value.ok_or_else(wrong).map(|value| Self { name, value })
    }

    /// Whether it may stand on a command line more than once.
    #[must_use]
    pub fn is_list(&self) -> bool {
        matches!(self.value, Value::Paths(_))
    }

    /// The property as systemd-run(1) takes it.
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
            Value::Mode(mode) => format!("{mode:04o}"),
            Value::Text(text) => text.clone(),
        };
        (self.name.clone(), value)
    }
}

impl Kind {
    fn read(self, text: &str) -> Option<Value> {
        let amount = |text: &str| match text {
            "infinity" => Some(INFINITY),
            digits if digits.starts_with(|first: char| first.is_ascii_digit()) => {
                parse_bytes(digits)
            }
            _ => None,
        };
        match self {
            Self::Memory => amount(text).filter(|bytes| *bytes >= 1 << 20).map(Value::Amount),
            Self::Tasks => amount(text).filter(|tasks| *tasks > 0).map(Value::Amount),
            Self::Swap | Self::Rlimit => amount(text).map(Value::Amount),
            Self::Cpus => {
                let digits = text.strip_suffix('%')?;
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                let percent: f64 = digits.parse().ok().filter(|_| is_number)?;
                (1.0..=409_600.0).contains(&percent).then_some(Value::Cpus(percent / 100.0))
            }
            Self::Switch => match text {
                "yes" | "true" | "on" | "1" => Some(Value::Switch(true)),
                "no" | "false" | "off" | "0" => Some(Value::Switch(false)),
                _ => None,
            },
            Self::Paths => {
                let paths: Vec<_> = text.split(' ').map(str::to_owned).collect();
                paths.iter().all(|path| is_mount_path(path)).then_some(Value::Paths(paths))
            }
            Self::Mode => {
                let is_octal = text.bytes().all(|byte| byte.is_ascii_digit());
                let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
                (mode & !0o755 == 0).then_some(Value::Mode(mode))
            }
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Word(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
        }
    }
}

/// The resource of a limit's name in capital letters, as systemd writes it.
fn find_rlimit(limit: &str) -> Option<nix::sys::resource::Resource> {
    let is_upper = limit.bytes().all(|byte| byte.is_ascii_uppercase());
    find_resource(&limit.to_ascii_lowercase()).filter(|_| is_upper)
}

/// Whether this is one absolute path for systemd.exec(5), with no sign that a shell would see in it.
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
