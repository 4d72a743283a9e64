use std::{
    fmt::Display,
    thread,
    time::{Duration, Instant},
};

use crate::{Error, Result};

/// Waits until `condition` holds, asking it again and again.
///
/// # Errors
/// [`Error::Timeout`] naming `what` when it still does not hold after `limit`.
pub fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    eventually_ok(what, limit, || {
        if condition() { Ok(()) } else { Err("not yet") }
    })
    .map_err(|error| match error {
        Error::Timeout { what, after, .. } => Error::Timeout {
            what,
            after,
            last: None,
        },
        other => other,
    })
}

/// Waits until `attempt` succeeds and gives what it gave.
///
/// # Errors
/// [`Error::Timeout`] naming `what`, with the last attempt's error, when none succeeds within `limit`.
pub fn eventually_ok<T, E: Display>(
    what: &str,
    limit: Duration,
    mut attempt: impl FnMut() -> std::result::Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if start.elapsed() >= limit => {
                return Err(Error::Timeout {
                    what: what.to_owned(),
                    after: limit,
                    last: Some(error.to_string()),
                });
            }
            Err(_) => thread::sleep(BETWEEN_ATTEMPTS),
        }
    }
}

/// Checks that `condition` holds all the time for `period`: for what must *not* happen.
///
/// # Errors
/// [`Error::Timeout`] naming `what` as soon as it does not hold.
pub fn holds_for(what: &str, period: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        if !condition() {
            let last = Some(format!("broken after {:?}", start.elapsed()));
            return Err(Error::Timeout {
                what: what.to_owned(),
                after: period,
                last,
            });
        }
        thread::sleep(BETWEEN_ATTEMPTS);
    }
    Ok(())
}

const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_succeeds_is_reported_with_its_last_error() {
        let result: Result<()> = eventually_ok("the door opens", Duration::ZERO, || Err("locked"));
        assert_eq!(
            result.unwrap_err().to_string(),
            "the door opens: not within 0ns (last: locked)"
        );
    }

    #[test]
    fn what_holds_at_last_is_enough() {
        let mut attempts = 0;
        let third_time = || {
            attempts += 1;
            attempts == 3
        };
        eventually("third time lucky", Duration::from_secs(5), third_time).unwrap();
        assert_eq!(attempts, 3);
    }

    #[test]
    fn what_breaks_in_between_is_reported() {
        let mut attempts = 0;
        let twice = || {
            attempts += 1;
            attempts <= 2
        };
        assert!(holds_for("it stays", Duration::from_secs(5), twice).is_err());
    }
}
