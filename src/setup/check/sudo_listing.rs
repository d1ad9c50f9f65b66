//! The output of `sudo -ll`: the rules of an account, and the settings that apply to it. sudo and sudo-rs
//! write the same form; newer versions of sudo name the file of each entry.

use std::path::{Path, PathBuf};

use super::apart::Silence;
use super::commands::Answer;
use target::mode::Mode;

/// A list from sudo.
#[derive(Debug, Default)]
pub struct Listing {
    /// Its entries, in order.
    pub entries: Vec<Entry>,
    /// Settings for every command, or for the commands named with them.
    settings: Vec<(Option<String>, String)>,
    /// What sudo wrote to stderr: why there is no list, or what is wrong with sudo's files.
    pub complaint: String,
    /// Why sudo has not answered.
    pub silence: Option<Silence>,
}

/// One entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The file that it is in, if sudo says so.
    pub file: Option<String>,
    /// The accounts that commands may run as.
    pub run_as: Vec<String>,
    /// Its options, such as `!authenticate`.
    pub options: Vec<String>,
    /// The commands, each with its arguments.
    pub commands: Vec<String>,
}

impl Entry {
    /// Whether it permits this file without prescribing its arguments.
    pub fn names(&self, program: &Path) -> bool {
        self.commands.iter().any(|command| Path::new(command) == program)
    }

    /// Whether it seems meant for this file: it names one of the same name elsewhere, or prescribes
    /// arguments.
    fn resembles(&self, program: &Path) -> bool {
        self.commands.iter().any(|command| {
            let path = command.split(' ').next().unwrap_or_default();
            Path::new(path).file_name() == program.file_name()
        })
    }

    /// Whether it needs no password.
    pub fn is_free(&self) -> bool {
        self.options.iter().any(|option| option == "!authenticate")
    }
}

impl Listing {
    /// Reads sudo's answer.
    pub fn from_answer(answer: Result<Answer, Silence>) -> Self {
        match answer {
            Ok(answer) => Self { complaint: answer.complaint, ..Self::parse(&answer.output) },
            Err(silence) => Self { silence: Some(silence), ..Self::default() },
        }
    }

    /// Reads sudo's list.
    pub fn parse(text: &str) -> Self {
        let mut listing = Self::default();
        let mut is_settings = false;
        for line in text.lines() {
            if line.starts_with("Matching Defaults entries") {
                is_settings = true;
            } else if line.starts_with("Runas and Command-specific") {
                is_settings = false;
            } else if let Some(rest) = line.strip_prefix("Sudoers entry:") {
                is_settings = false;
                let file = Some(rest.trim()).filter(|file| !file.is_empty());
                listing.entries.push(Entry { file: file.map(str::to_owned), ..Entry::default() });
            } else if let Some(rest) = line.trim_start().strip_prefix("Defaults!") {
                if let Some((command, settings)) = rest.split_once(' ') {
                    let settings = split_settings(settings);
                    let command = Some(command.to_owned());
                    listing.settings.extend(settings.map(|one| (command.clone(), one.to_owned())));
                }
            } else if is_settings {
                let settings = split_settings(line);
                listing.settings.extend(settings.map(|setting| (None, setting.to_owned())));
            } else if let Some(entry) = listing.entries.last_mut() {
                read_entry_line(entry, line);
            }
        }
        listing
    }

    /// Whether a switch is on for this command. The last setting counts; one for the command takes
    /// precedence.
    pub fn is_on(&self, switch: &str, program: &Path) -> bool {
        let mut on = (false, false);
        for (command, setting) in &self.settings {
            let is_ours = command.as_ref().is_some_and(|command| names(command, program));
            if command.is_some() && !is_ours {
                continue;
            }
            let (name, value) = match setting.strip_prefix('!') {
                Some(name) => (name, false),
                None => (setting.as_str(), true),
            };
            let decides = name == switch || (switch == "log_stdin" && name == "log_input");
            if decides && (is_ours || !on.1) {
                on = (value, is_ours);
            }
        }
        on.0
    }

    /// Where sudo records sessions, up to the part that differs for each, sudoers(5). Without a setting it is
    /// sudo's default.
    pub fn find_records(&self) -> PathBuf {
        let mut values = self.settings.iter().filter_map(|(_, one)| one.strip_prefix("iolog_dir="));
        let value = values.next_back().unwrap_or("/var/log/sudo-io");
        let (fixed, varies) =
            value.split_once('%').map_or((value, false), |(fixed, _)| (fixed, true));
        let path = Path::new(fixed);
        let is_cut = varies && !fixed.ends_with('/');
        path.parent().filter(|_| is_cut).unwrap_or(path).to_owned()
    }

    /// The mode that the rules for this command fit: user mode, the Hub's default, unless the Hub may run it
    /// only as root.
    pub fn find_mode(&self, program: &Path) -> Mode {
        let mut words = self.list_run_as(program).peekable();
        let is_named = words.peek().is_some();
        let is_root = |word| ["root", "#0"].contains(&word);
        if is_named && words.all(is_root) { Mode::Root } else { Mode::User }
    }

    /// The groups whose members the command may run as.
    pub fn target_groups(&self, program: &Path) -> Vec<String> {
        let words = self.list_run_as(program);
        words.filter_map(|word| word.strip_prefix('%').map(ToOwned::to_owned)).collect()
    }

    /// The accounts that the command may run as.
    pub fn target_users(&self, program: &Path) -> Vec<String> {
        let words = self.list_run_as(program);
        let is_name = |word: &&str| !word.starts_with(['%', '!', '#']) && *word != "ALL";
        words.filter(is_name).filter(|word| *word != "root").map(ToOwned::to_owned).collect()
    }

    /// Whether the command may run as any account.
    pub fn permits_everyone(&self, program: &Path) -> bool {
        self.list_run_as(program).any(|word| word == "ALL")
    }

    fn list_run_as(&self, program: &Path) -> impl Iterator<Item = &str> {
        let is_exact = self.entries.iter().any(|entry| entry.names(program));
        let entries = self
            .entries
            .iter()
            .filter(move |entry| entry.names(program) || (!is_exact && entry.resembles(program)));
        entries.flat_map(|entry| entry.run_as.iter().map(String::as_str))
    }
}

/// Whether a command, or a list of commands, of `Defaults!` names this program.
fn names(commands: &str, program: &Path) -> bool {
    commands.split(',').any(|command| Path::new(command.trim()) == program || command == "ALL")
}

/// Splits settings at commas outside quotes.
fn split_settings(line: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let separator = move |c: char| {
        if c == '"' {
            is_quoted = !is_quoted;
        }
        c == ',' && !is_quoted
    };
    line.split(separator).map(str::trim).filter(|setting| !setting.is_empty())
}

fn read_entry_line(entry: &mut Entry, line: &str) {
    let list = |text: &str| text.split(',').map(|word| word.trim().to_owned()).collect();
    match line.trim().split_once(": ") {
        Some(("RunAsUsers", users)) => {
            entry.run_as = users.split(',').map(|word| read_name(word.trim())).collect();
        }
        Some(("Options", options)) => entry.options = list(options),
        _ if line.starts_with('\t') => entry.commands.push(line.trim().to_owned()),
        _ => {}
    }
}

/// A name as sudo prints it: in quotes if it has blanks, otherwise with backslashes before some characters.
fn read_name(word: &str) -> String {
    match word.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) => name.to_owned(),
        None => [':', '=', '#', '"'].iter().fold(word.to_owned(), |name, character| {
            name.replace(&format!("\\{character}"), &character.to_string())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of sudo 1.9.13p3.
    const TEXT: &str = "\
Matching Defaults entries for rhea on machine:
    env_reset, mail_badpass, secure_path=/usr/local/sbin\\:/usr/bin, use_pty, log_input, log_stdin

Runas and Command-specific defaults for rhea:
    Defaults!/opt/bin/sudospawner !log_input
    Defaults!/opt/bin/sudospawner !requiretty

User rhea may run the following commands on machine:

Sudoers entry: /etc/sudoers.d/sudospawner
    RunAsUsers: zoe, wash
    Options: !authenticate
    Commands:
\t/opt/bin/sudospawner

Sudoers entry:
    RunAsUsers: %jupyterhub
    Options: log_input
    Commands:
\t/bin/echo
\t!/bin/true
";

    #[test]
    fn records_are_where_a_setting_says_up_to_what_varies() {
        let place = |settings: &str| {
            let text = format!("Matching Defaults entries for rhea on hub:\n    {settings}\n");
            Listing::parse(&text).find_records()
        };
        assert_eq!(place("use_pty"), Path::new("/var/log/sudo-io"));
        assert_eq!(place("log_output, iolog_dir=/srv/records"), Path::new("/srv/records"));
        assert_eq!(place("iolog_dir=/srv/records/%{user}/x"), Path::new("/srv/records/"));
        assert_eq!(place("iolog_dir=/srv/of-%{user}"), Path::new("/srv"));
    }

    #[test]
    fn entries_have_their_file_accounts_options_and_commands() {
        let listing = Listing::parse(TEXT);
        let ours = Path::new("/opt/bin/sudospawner");
        let [first, second] = listing.entries.as_slice() else { panic!("{listing:?}") };
        assert!(first.names(ours) && first.is_free());
        assert_eq!(first.file.as_deref(), Some("/etc/sudoers.d/sudospawner"));
        assert_eq!(second.file, None);
        assert_eq!(second.commands, ["/bin/echo", "!/bin/true"]);
        assert!(!second.is_free());
        assert_eq!(listing.target_users(ours), ["zoe", "wash"]);
        assert_eq!(listing.target_groups(Path::new("/bin/echo")), ["jupyterhub"]);
    }

    #[test]
    fn a_name_that_sudo_quotes_is_the_name() {
        // The output of sudo 1.9.16p2 and 1.9.13p3; the second line is that of sudo-rs 0.2.15.
        for line in [
            r#"    RunAsUsers: "%domain users@ad.example", AD\jdoe, a\=b, a\"b, a(b), "x\y z""#,
            r#"    RunAsUsers: %domain users@ad.example, AD\jdoe, a=b, a"b, a(b), x\y z"#,
        ] {
            let program = Path::new("/opt/bin/sudospawner");
            let text = format!("Sudoers entry:\n{line}\n    Commands:\n\t/opt/bin/sudospawner\n");
            let listing = Listing::parse(&text);
            assert_eq!(listing.target_groups(program), ["domain users@ad.example"]);
            let users = [r"AD\jdoe", "a=b", "a\"b", "a(b)", r"x\y z"];
            assert_eq!(listing.target_users(program), users);
        }
    }

    #[test]
    fn rules_are_for_root_mode_if_they_lead_to_root_alone() {
        let find = |text: &str| Listing::parse(text).find_mode(Path::new("/opt/bin/sudospawner"));
        let entry = |accounts: &str, program: &str| {
            format!("Sudoers entry:\n    RunAsUsers: {accounts}\n    Commands:\n\t{program}\n")
        };
        let ours = |accounts: &str| entry(accounts, "/opt/bin/sudospawner");
        assert_eq!(find(&ours("root")), Mode::Root);
        assert_eq!(find(&(ours("root") + &entry("ALL", "ALL"))), Mode::Root);
        for text in [
            String::new(),
            entry("root", "/bin/true"),
            ours("%jupyterhub"),
            ours("ALL"),
            ours("root") + &ours("zoe, wash"),
        ] {
            assert_eq!(find(&text), Mode::User, "{text}");
        }
    }

    #[test]
    fn a_setting_for_the_command_counts_more_than_one_for_all() {
        let listing = Listing::parse(TEXT);
        let ours = Path::new("/opt/bin/sudospawner");
        assert!(!listing.is_on("log_input", ours));
        assert!(!listing.is_on("log_stdin", ours));
        assert!(listing.is_on("log_input", Path::new("/bin/echo")));
        assert!(listing.is_on("use_pty", ours));
        assert!(!listing.is_on("requiretty", ours));
    }
}
