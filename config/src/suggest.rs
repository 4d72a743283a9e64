//! "Did you mean": the known word nearest to one that is not known.

/// The one of `known` that somebody who wrote `word` probably meant.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = normal(word);
    let tolerance = (plain.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(&plain, &normal(candidate)), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Without what styles of writing differ in: case, hyphens, underscores.
fn normal(word: &str) -> Vec<char> {
    word.chars()
        .filter(|c| !matches!(c, '-' | '_'))
        .flat_map(char::to_lowercase)
        .take(LONGEST)
        .collect()
}

/// How many letters must be added, removed, exchanged or swapped with their neighbour (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (row, x) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, y) in b.iter().enumerate() {
            let at =
                |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&above, column) + usize::from(x != y))
                .min(at(&above, column + 1) + 1)
                .min(at(&current, column) + 1);
            let swapped =
                row > 0 && column > 0 && a.get(row - 1) == Some(y) && b.get(column - 1) == Some(x);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or(a.len())
}

/// Letters that are compared; a longer word is nonsense, and comparing costs the square of it.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["addresses", "autoAssign", "avoidBuggyIPs", "name"];

    fn meant(word: &str) -> Option<&'static str> {
        did_you_mean(word, FIELDS)
    }

    #[test]
    fn a_slip_of_the_finger_is_forgiven() {
        assert_eq!(meant("adresses"), Some("addresses"));
        assert_eq!(meant("nmae"), Some("name"));
        assert_eq!(meant("avoidBugyIPs"), Some("avoidBuggyIPs"));
    }

    #[test]
    fn another_style_of_writing_is_recognised() {
        assert_eq!(meant("auto-assign"), Some("autoAssign"));
        assert_eq!(meant("AVOID_BUGGY_IPS"), Some("avoidBuggyIPs"));
    }

    #[test]
    fn nonsense_has_no_nearest_word() {
        assert_eq!(meant("colour"), None);
        assert_eq!(meant(""), None);
        assert_eq!(meant(&"x".repeat(100_000)), None);
    }
}
