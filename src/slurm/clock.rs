//! Slurm's spelling of a length of time.

use std::time::Duration;

/// Reads `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`, `days-hours:minutes` and
/// `days-hours:minutes:seconds` (sbatch(1), `--time`). `None` for anything else, also for `UNLIMITED`.
#[must_use]
pub fn parse_time(text: &str) -> Option<Duration> {
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (Some(read_number(days)?), rest),
        None => (None, text),
    };
    let parts: Vec<u64> = rest.split(':').map(read_number).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = match (days, parts.as_slice()) {
        (None, [minutes]) => [0, *minutes, 0],
        (None, [minutes, seconds]) => [0, *minutes, *seconds],
        (Some(_), [hours]) => [*hours, 0, 0],
        (Some(_), [hours, minutes]) => [*hours, *minutes, 0],
        (_, [hours, minutes, seconds]) => [*hours, *minutes, *seconds],
        _ => return None,
    };
    let hours = days.unwrap_or(0).checked_mul(24)?.checked_add(hours)?;
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    Some(Duration::from_secs(minutes.checked_mul(60)?.checked_add(seconds)?))
}

fn read_number(digits: &str) -> Option<u64> {
    // `u64::from_str` accepts a plus sign.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_in_each_of_slurms_spellings_and_in_no_other() {
        for (text, seconds) in [
            ("90", Some(5400)),
            ("0:01", Some(1)),
            ("8:00:00", Some(28800)),
            ("1-0", Some(86400)),
            ("1-2:30", Some(95400)),
            ("2-03:04:05", Some(183_845)),
            ("", None),
            ("UNLIMITED", None),
            ("1:2:3:4", None),
            ("-1", None),
            ("+5", None),
            ("1-", None),
            ("99999999999999999999", None),
            ("9999999999999999-0", None),
        ] {
            assert_eq!(parse_time(text), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
