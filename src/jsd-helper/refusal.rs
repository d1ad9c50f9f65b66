//! Why nothing was done.

use ground::denial::Denial;
use root::trusted_file::Distrust;
use thiserror::Error;

/// A code for the audit line, and a sentence for people.
#[derive(Debug, Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// The code.
    pub code: &'static str,
    /// The sentence.
    pub sentence: String,
}

impl Refusal {
    /// The exit status, as in the original.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        if self.code == "usage" { 1 } else { 99 }
    }
}

/// Something that the Hub may not have.
impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self { code: "not_permitted", sentence }
    }
}

/// What root mode also refuses.
impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self { code: denial.classify().0, sentence: denial.to_string() }
    }
}

/// A server that accounts other than root could have written.
impl From<Distrust> for Refusal {
    fn from(distrust: Distrust) -> Self {
        let sentence = format!("the server's executable is not trusted: {distrust}");
        Self { code: "server_untrusted", sentence }
    }
}
