//! Everything that sudospawner does as the target, after root has been given up.
//!
//! ```text
//! Unprivileged, request ─► Grant ─► launcher ═► [environment ─► exec server]
//!                          grant       │              server
//!                                      └──────► Reply ─► stdout
//! ```

// The flow.
pub mod answer;
pub mod cli;
pub mod mode;
pub mod user_mode;
pub mod lowered;
pub mod request;
pub mod grant;
pub mod decision;
pub mod agent;
pub mod launcher;
pub mod environment;
pub mod files;
pub mod server;
pub mod reply;

// The other processes of a launch.
pub mod foreground;
pub mod supervisor;

// For every stage.
pub mod process;
pub mod json;
pub mod error;
