//! Any text is read to the end: every fault becomes an error with a place, and what remains lowers to a configuration.

use ironlb_config::{Source, lower, read};
use ironlb_model::Config;

/// Panics when `bytes`, as far as they are text, break it.
pub fn run(bytes: &[u8]) {
    let source = Source {
        name: "fuzz.yaml".to_owned(),
        text: String::from_utf8_lossy(bytes).into_owned(),
    };
    let manifests = read(std::slice::from_ref(&source));
    let lowered = lower(&manifests.objects, &Config::default());
    for error in manifests.errors.iter().chain(&lowered.errors) {
        assert!(error.to_string().contains(&error.message), "{error}");
        assert_eq!(error.source, source.name);
        assert!(!error.message.is_empty());
    }
    // What is in force stays in force when the same is read again.
    let again = lower(&manifests.objects, &lowered.config);
    assert_eq!(again.config, lowered.config);
    assert_eq!(again.errors, lowered.errors);
}
