//! The target `command_line` for AFL: see `fuzz/run`.

fn main() {
    afl::fuzz!(|bytes: &[u8]| sudospawner_fuzz::check_command_line(bytes));
}
