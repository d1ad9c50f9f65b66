//! The target `policy` for AFL: see `fuzz/run`.

fn main() {
    afl::fuzz!(|bytes: &[u8]| sudospawner_fuzz::check_policy(bytes));
}
