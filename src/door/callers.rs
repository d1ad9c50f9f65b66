//! Who may call: `hub_users` of the policy, looked up anew when the policy has changed, and once a minute.

use std::time::{Duration, Instant, SystemTime};

use ground::denial::POLICY_PATH;
use ground::waiting::within_limit;
use nix::unistd::Uid;
use root::account::{Account, NOBODY};
use root::policy::file::Policy;

/// How long a look-up counts: an account may be new, or its directory have been away.
const LASTS: Duration = Duration::from_secs(60);

/// The accounts that may call.
#[derive(Default)]
pub struct Callers {
    known: Vec<Account>,
    /// Whether a policy has been read. Until then the mediator says to each caller what is wrong with it.
    has_policy: bool,
    /// When they were looked up, and the time of the policy's file.
    looked: Option<(Instant, Option<SystemTime>)>,
}

impl Callers {
    /// Looks them up, if it is time. If the account database takes too long, SIGALRM ends this process, and systemd
    /// starts it anew at the next call.
    pub fn refresh(&mut self) {
        let changed = std::fs::metadata(POLICY_PATH).and_then(|file| file.modified()).ok();
        if self.looked.is_some_and(|(when, old)| when.elapsed() < LASTS && old == changed) {
            return;
        }
        // With a policy that does not count, the mediator refuses all that those ask who were known before.
        if let Ok(policy) = Policy::load_for_root() {
            let known = policy.hub_users.iter().filter_map(|name| Account::by_name(name));
            // Nobody is whoever does not exist in our user namespace.
            let known = known.filter(|account| account.uid.as_raw() != NOBODY);
            self.known = within_limit(|| known.collect());
            self.has_policy = true;
        }
        self.looked = Some((Instant::now(), changed));
    }

    /// The name of a caller with this uid, if it may call.
    #[must_use]
    pub fn find(&self, uid: Uid) -> Option<&str> {
        let known = self.known.iter().find(|account| account.uid == uid);
        known.map(|account| account.name.as_str()).or((!self.has_policy).then_some("?"))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.known.len()
    }
}
