//! The target `request` for AFL: see `fuzz/run`.

fn main() {
    afl::fuzz!(|bytes: &[u8]| sudospawner_fuzz::check_request(bytes));
}
