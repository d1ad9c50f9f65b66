//! What a job says in its comment, which anybody can read, and its user can write.

use ground::escape::{Lines, escape_control_characters};

/// How a comment of ours begins.
const OURS: &str = "sudospawner ";
/// How much of a sentence a comment takes: less than Slurm's 1024 bytes.
const LONGEST: usize = 700;
/// The lowest port that a server can have.
const LOWEST_PORT: u16 = 1024;

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The server listens on this port.
    Listening(u16),
    /// A server could run here.
    Fine,
    /// There is no server.
    Failed {
        /// The code.
        code: String,
        /// The sentence.
        sentence: String,
    },
}

impl Word {
    /// The comment.
    #[must_use]
    pub fn write(&self) -> String {
        match self {
            Self::Listening(port) => format!("{OURS}listening {port}"),
            Self::Fine => format!("{OURS}found all"),
            Self::Failed { code, sentence } => {
                let mut text = escape_control_characters(sentence.as_bytes(), Lines::One);
                while text.len() > LONGEST {
                    text.pop();
                }
                format!("{OURS}failed {code} {text}")
            }
        }
    }

    /// Reads a comment; `None` if it is not of this form, whoever wrote it.
    #[must_use]
    pub fn read(comment: &str) -> Option<Self> {
        let (word, rest) = comment.strip_prefix(OURS)?.split_once(' ')?;
        match word {
            "listening" => {
                let port = rest.parse().ok().filter(|port| *port >= LOWEST_PORT)?;
                Some(Self::Listening(port))
            }
            "found" => (rest == "all").then_some(Self::Fine),
            "failed" => {
                let (code, sentence) = rest.split_once(' ')?;
                let is_code = !code.is_empty()
                    && code.len() <= 40
                    && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                let sentence = escape_control_characters(sentence.as_bytes(), Lines::One);
                is_code.then(|| Self::Failed { code: code.to_owned(), sentence })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_read_as_it_was_written() {
        let failed =
            Word::Failed { code: "home_missing".to_owned(), sentence: "no home: x".to_owned() };
        for word in [Word::Listening(40123), Word::Fine, failed] {
            assert_eq!(Word::read(&word.write()), Some(word));
        }
    }

    #[test]
    fn what_a_user_writes_is_a_port_or_a_code_or_nothing() {
        for wrong in [
            "",
            "sudospawner",
            "sudospawner listening",
            "sudospawner listening 80",
            "sudospawner listening 65536",
            "sudospawner listening 4002 ",
            "sudospawner listening 4002\n",
            " sudospawner listening 4002",
            "sudospawner failed <b> x",
            "sudospawner failed home_missing",
        ] {
            assert_eq!(Word::read(wrong), None, "{wrong:?}");
        }
        let Some(Word::Failed { sentence, .. }) = Word::read("sudospawner failed x a\u{1b}[1mb\nc")
        else {
            unreachable!("it is a failure");
        };
        assert!(!sentence.contains(char::is_control));
    }

    #[test]
    fn a_comment_is_short_enough_for_slurm() {
        let long = Word::Failed { code: "exec_failed".to_owned(), sentence: "ü".repeat(4000) };
        assert!(long.write().len() < 1024);
    }
}
