//! Durations as Go and Kubernetes write them: `90s`, `1m30s`, `1.5h`.

use std::time::Duration;

/// The duration that `text` says: one or more numbers, each with a unit; or `0`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanoseconds, after) = component(rest)?;
        total = total.checked_add(nanoseconds)?;
        rest = after;
    }
    let in_range = !text.is_empty() && total <= MAX_NANOSECONDS;
    in_range.then(|| Duration::from_nanos(total))
}

/// One number with its unit, in nanoseconds, and what follows it.
fn component(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| {
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len())
    };
    let (whole, rest) = text.split_at_checked(digits(text))?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at_checked(digits(rest))?,
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest
        .find(|c: char| c.is_ascii_digit() || c == '.')
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at_checked(end)?;
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let whole = whole.checked_mul(*unit)?;
    whole
        .checked_add(part(fraction, *unit)?)
        .map(|sum| (sum, rest))
}

/// The digits after the point, of a unit of so many nanoseconds; what is less than a nanosecond is dropped.
fn part(fraction: &str, unit: u64) -> Option<u64> {
    let digits = fraction.get(..fraction.len().min(15))?;
    if digits.is_empty() {
        return Some(0);
    }
    let scale = 10_u128.checked_pow(u32::try_from(digits.len()).ok()?)?;
    let value = digits.parse::<u128>().ok()? * u128::from(unit) / scale;
    u64::try_from(value).ok()
}

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The longest duration that Go has: about 292 years.
const MAX_NANOSECONDS: u64 = i64::MAX.unsigned_abs();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        assert_eq!(parse("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1m30s"), Some(Duration::from_secs(90)));
        assert_eq!(parse("1.5h"), Some(Duration::from_secs(5400)));
        assert_eq!(parse(".5s"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1100ms"), Some(Duration::from_millis(1100)));
        assert_eq!(parse("0"), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "90",
            "s",
            "1x",
            "-1s",
            "1 s",
            "1s ",
            ".",
            ".s",
            "1h-3s",
            "99999999999999h",
            "300000h300000000h",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
