//! What happened: every line is hashed, the last ones are kept.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use ironlb_model::Time;

/// The record of a run. Two runs of one seed must have the same [`hash`](Self::hash).
#[derive(Debug)]
pub struct History {
    lines: VecDeque<String>,
    bound: usize,
    print: bool,
    hash: u64,
    count: u64,
}

impl History {
    /// Keeps the last `bound` lines, and prints each as it comes when `print` is set.
    pub const fn new(bound: usize, print: bool) -> Self {
        Self {
            lines: VecDeque::new(),
            bound,
            print,
            hash: FNV_OFFSET,
            count: 0,
        }
    }

    /// Records a line.
    pub fn note(&mut self, now: Time, what: fmt::Arguments<'_>) {
        let mut line = if self.lines.len() >= self.bound {
            self.lines.pop_front().unwrap_or_default()
        } else {
            String::new()
        };
        line.clear();
        // Writing to a string cannot fail.
        let _ = write!(line, "{now} {what}");
        self.count += 1;
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        if self.print {
            #[expect(clippy::print_stdout, reason = "a replay is read on the terminal")]
            {
                println!("{line}");
            }
        }
        self.lines.push_back(line);
    }

    /// FNV-1a over every line so far.
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The last lines, the oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_lines_go_and_the_hash_keeps_them() {
        let mut short = History::new(1, false);
        let mut long = History::new(10, false);
        for word in ["a", "b"] {
            short.note(Time::ZERO, format_args!("{word}"));
            long.note(Time::ZERO, format_args!("{word}"));
        }
        assert_eq!(short.lines().collect::<Vec<_>>(), ["0.000000s b"]);
        assert_eq!(short.hash(), long.hash());
        assert_eq!(short.count(), 2);
    }

    #[test]
    fn another_order_is_another_hash() {
        let hash = |words: [&str; 2]| {
            let mut history = History::new(10, false);
            for word in words {
                history.note(Time::ZERO, format_args!("{word}"));
            }
            history.hash()
        };
        assert_ne!(hash(["a", "b"]), hash(["b", "a"]));
    }
}
