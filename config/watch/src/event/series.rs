//! Which Event says a thing for the first time, and which repeats one that is there.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::Statement;

/// What was said lately, to count repetitions on.
///
/// Of one series there is one request under way at most: a count that overtakes its Event would find none, and one that
/// overtakes another would be undone by it. What is repeated meanwhile is counted, and told by the next request.
#[derive(Debug, Default)]
pub(super) struct Book {
    series: BTreeMap<Statement, Series>,
    named: u64,
}

#[derive(Debug)]
struct Series {
    name: String,
    count: i32,
    /// What the request under way tells.
    under_way: Option<i32>,
    last: Instant,
}

/// A request to make; [`Book::done`] wants to hear how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Create an Event of this name and count.
    Create(String, i32),
    /// The Event of this name has this count now.
    Count(String, i32),
}

/// How an [`Order`] went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There is no such Event any more: the API server forgets them after an hour.
    Gone,
    Failed,
}

impl Book {
    /// A statement is made; `unique` is a number that no process used for a name before.
    pub(super) fn say(
        &mut self,
        statement: &Statement,
        now: Instant,
        unique: i128,
    ) -> Option<Order> {
        let known = self.series.get_mut(statement);
        let recent =
            known.filter(|series| now.saturating_duration_since(series.last) < REPEATED_WITHIN);
        if let Some(series) = recent {
            series.count = series.count.saturating_add(1);
            series.last = now;
            return series.tell();
        }
        self.make_room(now);
        let name = self.name(statement, unique);
        let series = Series {
            name: name.clone(),
            count: 1,
            under_way: Some(1),
            last: now,
        };
        self.series.insert(statement.clone(), series);
        Some(Order::Create(name, 1))
    }

    /// A request has come to its end; gives the one that follows from that.
    pub(super) fn done(
        &mut self,
        statement: &Statement,
        outcome: Outcome,
        unique: i128,
    ) -> Option<Order> {
        let fresh = self.name(statement, unique);
        let series = self.series.get_mut(statement)?;
        let told = series.under_way.take();
        match outcome {
            Outcome::Done if told < Some(series.count) => series.tell(),
            Outcome::Done => None,
            Outcome::Gone if told > Some(1) => {
                series.name.clone_from(&fresh);
                series.under_way = Some(series.count);
                Some(Order::Create(fresh, series.count))
            }
            // Its namespace is being deleted, or we are not allowed to: the next one begins anew.
            Outcome::Gone | Outcome::Failed => {
                self.series.remove(statement);
                None
            }
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.series.len() < SERIES {
            return;
        }
        self.series
            .retain(|_, series| now.saturating_duration_since(series.last) < REPEATED_WITHIN / 10);
        // A flood of different sentences: then nothing is worth counting.
        if self.series.len() >= SERIES {
            self.series.clear();
        }
    }

    fn name(&mut self, statement: &Statement, unique: i128) -> String {
        self.named = self.named.wrapping_add(1);
        let unique = unique.wrapping_add(i128::from(self.named));
        format!("{}.{unique:x}", statement.subject.name)
    }
}

impl Series {
    fn tell(&mut self) -> Option<Order> {
        if self.under_way.is_some() {
            return None;
        }
        self.under_way = Some(self.count);
        Some(Order::Count(self.name.clone(), self.count))
    }
}

/// Statements remembered for counting.
const SERIES: usize = 4_096;
/// The same sentence within this time is a repetition.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use ironlb_model::EventKind;

    use super::*;
    use crate::event::Subject;

    fn statement(message: &str) -> Statement {
        Statement {
            subject: Subject::of_configuration("IPAddressPool", "lb", "first", None),
            kind: EventKind::Warning,
            reason: "ConfigurationError",
            message: message.to_owned(),
        }
    }

    fn created(order: Option<Order>) -> String {
        match order {
            Some(Order::Create(name, 1)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_again_is_counted_on_the_event_that_is_there() {
        let (mut book, now, said) = (Book::default(), Instant::now(), statement("it is wrong"));
        let name = created(book.say(&said, now, 7));
        assert_eq!(book.done(&said, Outcome::Done, 8), None);
        let again = book.say(&said, now + REPEATED_WITHIN / 2, 9);
        assert_eq!(again, Some(Order::Count(name, 2)));
        let other = created(book.say(&statement("it is wrong otherwise"), now, 7));
        assert!(other.starts_with("first."), "{other}");
    }

    #[test]
    fn what_is_repeated_while_a_request_is_under_way_is_told_by_one_more() {
        let (mut book, now, said) = (Book::default(), Instant::now(), statement("it is wrong"));
        let name = created(book.say(&said, now, 7));
        for _ in 0..1_000 {
            assert_eq!(book.say(&said, now, 8), None);
        }
        let next = book.done(&said, Outcome::Done, 9);
        assert_eq!(next, Some(Order::Count(name, 1_001)));
        assert_eq!(book.done(&said, Outcome::Done, 9), None);
    }

    #[test]
    fn an_event_that_was_forgotten_meanwhile_is_made_anew_with_its_count() {
        let (mut book, now, said) = (Book::default(), Instant::now(), statement("it is wrong"));
        let name = created(book.say(&said, now, 7));
        book.done(&said, Outcome::Done, 8);
        book.say(&said, now, 9);
        let Some(Order::Create(other, 2)) = book.done(&said, Outcome::Gone, 10) else {
            panic!("it is not made anew");
        };
        assert_ne!(name, other);
        // Once: where nothing can be created, there is no loop.
        assert_eq!(book.done(&said, Outcome::Failed, 11), None);
        created(book.say(&said, now, 12));
        assert_eq!(book.done(&said, Outcome::Gone, 13), None);
        created(book.say(&said, now, 14));
    }

    #[test]
    fn after_a_long_time_the_same_sentence_is_a_new_event() {
        let (mut book, now, said) = (Book::default(), Instant::now(), statement("it is wrong"));
        let name = created(book.say(&said, now, 7));
        book.done(&said, Outcome::Done, 8);
        assert_ne!(created(book.say(&said, now + REPEATED_WITHIN, 9)), name);
    }

    #[test]
    fn a_flood_of_sentences_is_not_remembered_for_ever() {
        let (mut book, now) = (Book::default(), Instant::now());
        for number in 0..3 * SERIES {
            created(book.say(&statement(&number.to_string()), now, 7));
        }
        assert!(book.series.len() <= SERIES);
    }
}
