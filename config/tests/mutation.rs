//! Whatever is in a file, reading it and lowering it ends without a panic, and every error can be shown.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::LazyLock;

use ironlb_config::{Source, lower, read, report, validate};
use ironlb_model::Config;
use proptest::prelude::*;

const VALID: [&str; 6] = [
    include_str!("../../tests/config/valid/pools.yaml"),
    include_str!("../../tests/config/valid/bgp.yaml"),
    include_str!("../../tests/config/valid/layer2.yaml"),
    include_str!("../../tests/config/valid/configmap.yaml"),
    include_str!("../../tests/config/valid/legacy.yaml"),
    include_str!("../../tests/config/valid/list.json"),
];

/// What YAML, numbers and addresses may stumble over.
const PIECES: [&str; 24] = [
    "",
    "\n",
    "\n  ",
    "- ",
    ": ",
    "{",
    "}",
    "[",
    "]",
    "|\n",
    "&a ",
    "*a",
    "<<: ",
    "---\n",
    "~",
    "\"",
    "'",
    "-1",
    "99999999999999999999",
    "0x",
    "::",
    "/",
    "\u{feff}",
    "é\u{0}",
];

fn source(text: String) -> Source {
    Source {
        name: "fuzz.yaml".to_owned(),
        text,
    }
}

/// A configuration with something of every kind.
static BEFORE: LazyLock<Config> = LazyLock::new(|| {
    let all = read(&[source(VALID.join("---\n"))]);
    lower(&all.objects, &Config::default()).config
});

fn survives(text: String) {
    let sources = [source(text)];
    let manifests = read(&sources);
    let from_nothing = lower(&manifests.objects, &Config::default());
    let from_before = lower(&manifests.objects, &BEFORE);
    // Without a fault nothing of before is left, so nothing of it can be in the way.
    if manifests.errors.is_empty() && from_nothing.is_valid() {
        assert!(from_before.is_valid(), "{:?}", from_before.errors);
        assert_eq!(from_before.config, from_nothing.config);
    }
    // What came out is itself good: nothing in it clashes.
    let again = lower(&manifests.objects, &from_before.config);
    assert_eq!(again.config, from_before.config);
    let errors = validate(&sources);
    report::render(&errors, &sources, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_valid_file_with_pieces_exchanged_does_no_harm(
        which in 0..VALID.len(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..6_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut text: Vec<char> = VALID[which].chars().collect();
        for (place, removed, piece) in edits {
            let start = place.index(text.len() + 1);
            let end = (start + removed).min(text.len());
            text.splice(start..end, PIECES[piece].chars());
        }
        survives(text.into_iter().collect());
    }

    #[test]
    fn a_valid_file_with_lines_exchanged_does_no_harm(
        which in 0..VALID.len(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..8),
    ) {
        let mut lines: Vec<&str> = VALID[which].lines().collect();
        for (one, other) in swaps {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.swap(one, other);
        }
        survives(lines.join("\n"));
    }

    #[test]
    fn any_text_does_no_harm(text in "\\PC{0,200}") {
        survives(text);
    }
}
