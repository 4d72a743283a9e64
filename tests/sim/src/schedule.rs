//! What happens next: a heap of events in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use ironlb_model::Time;

/// Events in the order of their time; those of one time in the order in which they were added.
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    added: u64,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            added: 0,
        }
    }
}

impl<E> Schedule<E> {
    /// Adds an event.
    pub fn add(&mut self, at: Time, event: E) {
        self.added += 1;
        self.heap.push(Reverse(Entry {
            at,
            order: self.added,
            event,
        }));
    }

    /// Takes the next event that is due at `until` or before.
    pub fn take(&mut self, until: Time) -> Option<(Time, E)> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        self.heap
            .pop()
            .map(|Reverse(entry)| (entry.at, entry.event))
    }
}

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_added() {
        let mut schedule = Schedule::default();
        schedule.add(Time::from_secs(2), 'c');
        schedule.add(Time::from_secs(1), 'a');
        schedule.add(Time::from_secs(1), 'b');
        let mut order = String::new();
        while let Some((_, event)) = schedule.take(Time::from_secs(2)) {
            order.push(event);
        }
        assert_eq!(order, "abc");
    }

    #[test]
    fn what_is_due_later_stays() {
        let mut schedule = Schedule::default();
        schedule.add(Time::from_secs(2), ());
        assert!(schedule.take(Time::from_secs(1)).is_none());
        assert!(schedule.take(Time::from_secs(2)).is_some());
    }
}
