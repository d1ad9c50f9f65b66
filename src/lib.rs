//! The parts of `sudospawner`, in the order in which a call goes through them.
//!
//! ```text
//! caller, --user ─► Target ─► Unprivileged ─► Grant ─► launcher ═► [inside: environment ─► exec server]
//!                   policy    privileges      policy   launcher                     server
//!                      └─► monitor: hooks ─► Prepared ─► privileges ═►┘
//! ```
//!
//! Each arrow consumes a value that only the stage before can make, so that a check which was
//! skipped does not compile. `docs/architecture.md` is the map with the reasons.

// The flow.
pub mod root_options;
pub mod cli;
pub mod account;
pub mod policy;
pub mod trusted_file;
pub mod monitor;
pub mod service_manager;
pub mod foreground;
pub mod hooks;
pub mod privileges;
pub mod request;
pub mod server_name;
pub mod unit_name;
pub mod unit_properties;
pub mod server;
pub mod environment;
pub mod launcher;
pub mod report;
pub mod supervisor;
pub mod keeper;
pub mod ending;
pub mod process;
pub mod reply;

// The container's entrypoint, which is the part between hooks and exec alone.
pub mod roothooks;

// systemd-run and systemctl for SystemdSpawner.
pub mod jsd_helper;
// For those who set a machine up; no part of a spawn.
pub mod check;
pub mod subcommands;
pub mod sudoers_fragment;

// What every stage may use.
pub mod audit;
pub mod denial;
pub mod diagnostics;
pub mod error;
pub mod escape;
pub mod json;
pub mod output;
pub mod system_calls;
