//! `jsd-helper`: what a Hub with SystemdSpawner may do as root, and no more.

pub mod wish;
