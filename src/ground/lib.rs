//! What every part of the program may use: system calls, text, names, time limits, and the pipes between its
//! processes. Nothing here decides anything or knows whose rights it runs with.

pub mod system_calls;
pub mod control_group;
pub mod pidfd;
pub mod connection;
pub mod waiting;
pub mod turn;
pub mod ending;
pub mod roster;
pub mod output;
pub mod program;
pub mod escape;
pub mod script;
pub mod mounts;
pub mod server_name;
pub mod unit_name;
pub mod account_name;
pub mod name_pattern;
pub mod units;
pub mod placeholders;
pub mod denial;
pub mod report;
pub mod wire;
pub mod syslog;
#[cfg(feature = "diagnostics")]
pub mod diagnostics;
