//! A client that asks for the page again and again, each time on a new connection, and notes when it was answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ironlb_lab::{Host, eventually};

/// Requests that are made while something else happens.
#[derive(Debug)]
pub(crate) struct Watch {
    attempts: Vec<Attempt>,
}

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    began: Instant,
    ended: Instant,
    ok: bool,
}

/// The longest time without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outage {
    /// From the end of the last answered request to that of the next one.
    pub(crate) duration: Duration,
    /// Requests that failed in between.
    pub(crate) failed: usize,
}

impl Watch {
    /// Asks `server` from `client` until it was answered a few times, goes on while `work` runs, and until it was
    /// answered a few times after that. A request that has no answer after `patience` has failed.
    pub(crate) fn during<T>(
        client: &Host,
        server: SocketAddr,
        patience: Duration,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Self)> {
        let (is_under_way, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let asking = scope
                .spawn(|| client.in_namespace(|| ask(server, patience, &is_under_way, &is_over)));
            let ready = || is_under_way.load(Ordering::Acquire);
            let result = eventually("the client is answered", LONGEST, ready)
                .map_err(anyhow::Error::from)
                .and_then(|()| work());
            is_over.store(true, Ordering::Release);
            let attempts = asking
                .join()
                .map_err(|_| anyhow::anyhow!("the client panicked"))??;
            Ok((result?, Self { attempts }))
        })
    }

    /// How many requests were made.
    pub(crate) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// How many of them were not answered.
    pub(crate) fn failed(&self) -> usize {
        self.attempts.iter().filter(|it| !it.ok).count()
    }

    /// The longest time without an answer.
    ///
    /// # Errors
    /// When the client was not answered at the end.
    pub(crate) fn outage(&self) -> Result<Outage> {
        let last = self.attempts.last().context("the client never asked")?;
        if !last.ok {
            anyhow::bail!("the client was still not answered {LONGEST:?} later");
        }
        let answered: Vec<usize> = (0..)
            .zip(&self.attempts)
            .filter(|(_, it)| it.ok)
            .map(|(index, _)| index)
            .collect();
        let gaps = answered
            .iter()
            .zip(answered.iter().skip(1))
            .filter_map(|(before, after)| {
                let (first, second) = (self.attempts.get(*before)?, self.attempts.get(*after)?);
                let duration = second.ended.saturating_duration_since(first.ended);
                Some(Outage {
                    duration,
                    failed: (after - before).saturating_sub(1),
                })
            });
        gaps.max_by_key(|gap| (gap.failed, gap.duration))
            .context("the client was never answered before")
    }
}

fn ask(
    server: SocketAddr,
    patience: Duration,
    is_under_way: &AtomicBool,
    is_over: &AtomicBool,
) -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut over = None;
    loop {
        let began = Instant::now();
        let ok = page(server, patience).is_ok();
        attempts.push(Attempt {
            began,
            ended: Instant::now(),
            ok,
        });
        if is_answered_since(&attempts, None) {
            is_under_way.store(true, Ordering::Release);
        }
        if is_over.load(Ordering::Acquire) {
            let over = *over.get_or_insert(began);
            if is_answered_since(&attempts, Some(over)) || over.elapsed() > LONGEST {
                return attempts;
            }
        }
        // A steady rate, so that failures are told apart from a busy client.
        thread::sleep(PERIOD.saturating_sub(began.elapsed()));
    }
}

/// Whether the last few requests, all begun since then, were answered.
fn is_answered_since(attempts: &[Attempt], since: Option<Instant>) -> bool {
    let recent = attempts.iter().rev().take(ENOUGH);
    let is_good = |it: &&Attempt| it.ok && since.is_none_or(|since| it.began >= since);
    recent.filter(is_good).count() == ENOUGH
}

/// One GET on a new connection.
fn page(server: SocketAddr, patience: Duration) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let ok = response.starts_with("HTTP/1.1 200");
    if ok {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}

/// Time from one request to the next.
const PERIOD: Duration = Duration::from_millis(10);
/// Answers in a row that mean the service is back.
const ENOUGH: usize = 20;
/// How long to wait for them.
const LONGEST: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(answers: &[bool]) -> Watch {
        let start = Instant::now();
        let attempt = |(index, ok): (u32, &bool)| {
            let began = start + PERIOD * index;
            Attempt {
                began,
                ended: began + PERIOD / 2,
                ok: *ok,
            }
        };
        Watch {
            attempts: (0..).zip(answers).map(attempt).collect(),
        }
    }

    #[test]
    fn an_outage_is_the_time_between_two_answers_with_failures_between() {
        let outage = watch(&[true, true, false, false, true, true])
            .outage()
            .unwrap();
        assert_eq!(
            outage,
            Outage {
                duration: PERIOD * 3,
                failed: 2
            }
        );
    }

    #[test]
    fn without_a_failure_it_is_no_longer_than_the_pace_of_asking() {
        assert_eq!(watch(&[true, true, true]).outage().unwrap().failed, 0);
    }

    #[test]
    fn every_request_that_failed_counts() {
        assert_eq!(watch(&[true, false, true, false, true]).failed(), 2);
        assert_eq!(watch(&[true, true]).failed(), 0);
    }

    #[test]
    fn a_service_that_does_not_come_back_is_an_error() {
        assert!(watch(&[true, false]).outage().is_err());
        assert!(watch(&[]).outage().is_err());
    }
}
