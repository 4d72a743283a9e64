//! Every file of tests/config/malformed gives the error that its first line says, every one of tests/config/doubtful the
//! doubt; none of tests/config/valid any.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use ironlb_config::{Error, Source, validate};

struct Fixture {
    name: String,
    text: String,
}

fn fixtures(folder: &str) -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/config")
        .join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| Fixture {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            text: std::fs::read_to_string(path).unwrap(),
        })
        .collect()
}

fn errors(fixture: &Fixture) -> Vec<Error> {
    validate(&[source(fixture)])
}

fn source(fixture: &Fixture) -> Source {
    Source {
        name: fixture.name.clone(),
        text: fixture.text.clone(),
    }
}

/// `# expect: LINE:COLUMN OBJECT FIELD: PART OF MESSAGE`, with `-` for no object and no field.
fn is_expected(error: &Error, expectation: &str) -> bool {
    let mut parts = expectation.splitn(3, ' ');
    let mut next = || parts.next().unwrap();
    let (place, object, rest) = (next(), next(), next());
    let (field, message) = rest.split_once(": ").unwrap();
    let or_none = |text: &str| {
        if text == "-" {
            String::new()
        } else {
            text.to_owned()
        }
    };
    format!("{}:{}", error.line.unwrap(), error.column.unwrap()) == place
        && error.object == or_none(object)
        && error.field == or_none(field)
        && error.message.contains(message)
}

#[test]
fn every_malformed_file_gives_the_error_that_it_says() {
    let fixtures = fixtures("malformed");
    assert!(fixtures.len() >= 100, "only {}", fixtures.len());
    let mut wrong = String::new();
    for fixture in &fixtures {
        let first = fixture.text.lines().next().unwrap();
        let expectation = first.strip_prefix("# expect: ").unwrap();
        let errors = errors(fixture);
        if !errors.iter().any(|error| is_expected(error, expectation)) {
            wrong += &format!("{}: {expectation}\n", fixture.name);
            errors
                .iter()
                .for_each(|error| wrong += &format!("    {error}\n"));
        }
    }
    assert!(wrong.is_empty(), "expected, and found:\n{wrong}");
}

#[test]
fn every_doubtful_file_is_valid_and_gives_the_one_doubt_that_it_says() {
    for fixture in fixtures("doubtful") {
        let (manifests, judged) = ironlb_config::judge(&[source(&fixture)]);
        assert!(judged.is_valid(), "{}: {:?}", fixture.name, judged.errors);
        let first = fixture.text.lines().next().unwrap();
        let expectation = first.strip_prefix("# expect: ").unwrap();
        let [doubt] = &manifests.doubts[..] else {
            panic!("{}: {:?}", fixture.name, manifests.doubts);
        };
        assert!(is_expected(doubt, expectation), "{}: {doubt}", fixture.name);
    }
}

#[test]
fn every_error_has_a_place() {
    for fixture in fixtures("malformed") {
        for error in errors(&fixture) {
            assert!(error.line.is_some() && error.column.is_some(), "{error}");
        }
    }
}

#[test]
fn a_fault_is_told_once() {
    for fixture in fixtures("malformed") {
        let errors = errors(&fixture);
        assert_eq!(errors.len(), 1, "{}: {errors:#?}", fixture.name);
    }
}

#[test]
fn every_valid_file_is_valid() {
    let fixtures = fixtures("valid");
    assert!(fixtures.len() >= 5, "only {}", fixtures.len());
    for fixture in fixtures {
        let errors = errors(&fixture);
        assert!(errors.is_empty(), "{}: {errors:#?}", fixture.name);
    }
}

#[test]
fn no_error_and_no_debug_output_shows_a_password() {
    for folder in ["malformed", "valid"] {
        for fixture in fixtures(folder) {
            let source = Source {
                name: fixture.name.clone(),
                text: fixture.text.clone(),
            };
            let errors = validate(std::slice::from_ref(&source));
            let manifests = ironlb_config::read(std::slice::from_ref(&source));
            let lowered = ironlb_config::lower(&manifests.objects, &Default::default());
            let report =
                ironlb_config::report::render(&errors, std::slice::from_ref(&source), false);
            let shown = format!("{errors:?}{manifests:?}{lowered:?}{source:?}{report}");
            assert!(!shown.contains("hunter2"), "{}", fixture.name);
        }
    }
}
