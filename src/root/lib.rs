//! All code of sudospawner that can run as root for a server, and nothing else.
//!
//! ```text
//! options, caller ─► policy ─► Target ─► monitor ─► [target, in the same process]
//!                                           └─► hooks ─► Prepared ─► privileges ─► Unprivileged ─► [target]
//! ```
//!
//! Each arrow consumes a value that only the stage before it can make. What follows an [`Unprivileged`] is
//! not in this crate: `main` hands it over.
//!
//! [`Unprivileged`]: privileges::Unprivileged

// The flow.
pub mod options;
pub mod connection;
pub mod account;
pub mod policy;
pub mod trusted_file;
pub mod monitor;
pub mod enrolment;
pub mod hooks;
pub mod session;
pub mod privileges;
pub mod keeper;
pub mod audit;

// For servers in units.
pub mod foreground;
pub mod service_manager;
pub mod unit_properties;

// For administrators.
pub mod subcommand;
