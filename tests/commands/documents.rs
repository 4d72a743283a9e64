//! What the documents list is what there is: options, fields, extensions, metrics, reasons of Events.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;

use crate::run::{run, text};

const OPERATING: &str = include_str!("../../docs/operating.md");
const STANDALONE: &str = include_str!("../../docs/standalone.md");
const CONFIGURATION: &str = include_str!("../../docs/configuration.md");
const BGP: &str = include_str!("../../docs/bgp.md");

/// What the first group of `pattern` matches in `text`.
fn all<'t>(pattern: &str, text: &'t str) -> BTreeSet<&'t str> {
    let pattern = Regex::new(pattern).unwrap();
    let matches = pattern.captures_iter(text);
    matches
        .map(|found| found.get(1).unwrap().as_str())
        .collect()
}

/// The first cells of the rows of tables.
fn first_cells(document: &str) -> String {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.map(|row| row.split(" | ").next().unwrap_or(row));
    cells.map(|cell| format!("{cell}\n")).collect()
}

fn help(command: &str) -> String {
    text(&run(&[command, "--help"], "").stdout)
}

#[test]
fn every_option_of_controller_and_speaker_is_in_the_table_and_no_other() {
    let options = r"(?m)^ +(?:-., )?(--[a-z-]+)";
    let (controller, speaker) = (help("controller"), help("speaker"));
    let mut there = all(options, &controller);
    there.extend(all(options, &speaker));
    there.retain(|option| !["--help", "--version"].contains(option));
    let cells = first_cells(OPERATING);
    assert_eq!(all("`(--[a-z-]+)`", &cells), there);
    let environment = r"\[env: ([A-Z_]+)=";
    for variable in all(environment, &(controller + &speaker)) {
        assert!(OPERATING.contains(&format!("`{variable}`")), "{variable}");
    }
    let standalone = help("standalone");
    for option in all(options, &standalone) {
        let shared = OPERATING
            .lines()
            .any(|row| row.starts_with(&format!("| `{option}` ")) && row.contains(", S |"));
        let own = STANDALONE.contains(&format!("`{option}`"))
            || STANDALONE.contains(&format!(" {option} "));
        let is_help = ["--help", "--version", "--filename"].contains(&option);
        assert!(shared || own || is_help, "{option} of standalone");
    }
}

/// The fields of `spec` of a kind, in all its versions, each with whether it is ironlb's own.
fn fields(kind: &str) -> BTreeSet<(String, bool)> {
    let mut fields = BTreeSet::new();
    for definition in ironlb_config::crd::all().unwrap() {
        let definition = serde_json::to_value(definition).unwrap();
        if definition["spec"]["names"]["kind"] != kind {
            continue;
        }
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            for (name, schema) in spec["properties"].as_object().unwrap() {
                let described = |schema: &Value| {
                    let text = schema["description"].as_str().unwrap_or_default();
                    text.starts_with("An extension")
                };
                fields.insert((name.clone(), described(schema)));
            }
        }
    }
    assert!(!fields.is_empty(), "{kind}");
    fields
}

/// The part of a document below a heading.
fn section<'d>(document: &'d str, heading: &str) -> &'d str {
    let (_, rest) = document.split_once(&format!("\n## {heading}\n")).unwrap();
    rest.split_once("\n## ")
        .map_or(rest, |(section, _)| section)
}

#[test]
fn every_field_is_explained_and_marked_where_it_is_an_extension() {
    for (kind, document) in [
        ("IPAddressPool", CONFIGURATION),
        ("L2Advertisement", CONFIGURATION),
        ("BGPAdvertisement", BGP),
        ("BGPPeer", BGP),
        ("BFDProfile", BGP),
    ] {
        let cells = first_cells(section(document, kind));
        for (field, is_extension) in fields(kind) {
            let word = Regex::new(&format!("`{field}[`.\\[]")).unwrap();
            let cell = cells.lines().find(|cell| word.is_match(cell));
            let cell = cell.unwrap_or_else(|| panic!("{kind} {field} is not explained"));
            assert_eq!(cell.contains("(extension)"), is_extension, "{kind} {field}");
        }
    }
}

#[test]
fn every_extension_of_bgp_is_in_the_one_list() {
    let list = section(
        CONFIGURATION,
        "BGPAdvertisement, BGPPeer, BFDProfile, Community",
    );
    let cells = first_cells(list);
    for kind in ["BGPAdvertisement", "BGPPeer"] {
        for (field, is_extension) in fields(kind) {
            let word = Regex::new(&format!("`{field}[`.:]")).unwrap();
            // The address of a link-local peer has a form that is ours.
            let expected = is_extension || field == "peerAddress";
            assert_eq!(word.is_match(&cells), expected, "{kind} {field}");
        }
    }
}

/// The text of the sources below these folders, without tests.
fn sources(folders: &[&str]) -> Vec<String> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                collect(&path, files);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for folder in folders {
        collect(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
            &mut files,
        );
    }
    let texts = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap());
    let without_tests = texts.map(|text| {
        let code = text.split("\n#[cfg(test)]\nmod tests {").next();
        code.unwrap_or_default().to_owned()
    });
    without_tests.collect()
}

#[test]
fn every_metric_is_in_the_table_and_no_other() {
    let mut metrics = BTreeSet::new();
    let folders = ["speaker/src", "controller/src", "config/watch/src"];
    let sources = sources(&folders);
    for source in sources.iter().filter(|source| source.contains("Registry")) {
        metrics.extend(registered(source));
    }
    assert!(metrics.len() > 30, "{metrics:?}");
    let cells = first_cells(section(OPERATING, "Metrics"));
    let documented = all("`((?:metallb|ironlb)_[a-z0-9_]+)", &cells);
    // A counter has that at its end when it is shown.
    let shown = |name: &String| match documented.contains(&**name) {
        true => name.clone(),
        false => format!("{name}_total"),
    };
    let shown: BTreeSet<String> = metrics.iter().map(shown).collect();
    let documented: BTreeSet<String> = documented.into_iter().map(str::to_owned).collect();
    assert_eq!(documented, shown);
}

/// The names of the metrics that a source registers: text with what it means, below the last prefix.
fn registered(source: &str) -> BTreeSet<String> {
    let named = r#"[({]\s*"([a-z0-9_]+)",\s*"[A-Z0-9][^"]*"\s*[,)]"#;
    let prefixed = r#"sub_registry_with_prefix\("([a-z0-9_]+)"\)|const (BGP|BFD)_METRICS"#;
    let (named, prefixed) = (Regex::new(named).unwrap(), Regex::new(prefixed).unwrap());
    let names = named.captures_iter(source).map(|found| {
        let name = found.get(1).unwrap();
        if name.as_str().starts_with("ironlb_") || name.as_str().starts_with("metallb_") {
            return name.as_str().to_owned();
        }
        let before = prefixed
            .captures_iter(&source[..name.start()])
            .last()
            .unwrap();
        let prefix = match (before.get(1), before.get(2)) {
            (Some(prefix), _) => prefix.as_str().to_owned(),
            (_, table) => format!("metallb_{}", table.unwrap().as_str().to_lowercase()),
        };
        format!("{prefix}_{}", name.as_str())
    });
    names.collect()
}

#[test]
fn every_reason_of_an_event_is_in_the_table_and_no_other() {
    let folders = [
        "controller",
        "speaker/core/src",
        "speaker/src",
        "config/watch/src",
        "src",
    ];
    let sources = sources(&folders).concat();
    let reasons = r#"(?:reason: |Notice::(?:normal|warning)\(\s*|EventKind::\w+,\s*)"([A-Za-z]+)""#;
    let cells = first_cells(section(CONFIGURATION, "Events"));
    assert_eq!(all(r"`([A-Za-z]+)`", &cells), all(reasons, &sources));
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn the_map_has_every_crate_and_no_other() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let mut there: BTreeSet<(String, String)> = all("\"([a-z0-9/]+)\"", members)
        .into_iter()
        .map(|folder| {
            let manifest = std::fs::read_to_string(format!("{ROOT}/{folder}/Cargo.toml")).unwrap();
            let name = all("\\[package\\]\\s+name = \"([a-z0-9-]+)\"", &manifest);
            (format!("{folder}/"), (*name.first().unwrap()).to_owned())
        })
        .collect();
    there.insert(("src/".to_owned(), "ironlb".to_owned()));
    let map = section(include_str!("../../docs/architecture.md"), "Code map");
    let rows = Regex::new("(?m)^[|] `([a-z0-9/]+/)`[^|]*[|] `([a-z0-9-]+)` [|]").unwrap();
    let rows = rows
        .captures_iter(map)
        .map(|row| (row[1].to_owned(), row[2].to_owned()));
    assert_eq!(rows.collect::<BTreeSet<_>>(), there);
}

#[test]
fn every_file_that_a_document_names_is_there() {
    let folder = std::fs::read_dir(format!("{ROOT}/docs")).unwrap();
    let mut documents: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    documents.push(format!("{ROOT}/README.md").into());
    let path =
        "((?:docs|tests|deploy|config|controller|speaker|src)/[A-Za-z0-9_/.-]*[A-Za-z0-9_/])";
    for document in documents {
        let text = std::fs::read_to_string(&document).unwrap();
        for named in all(&format!("(?:^|[ `(]){path}(?:[ `,;:.)]|$)"), &text) {
            let is_there = Path::new(ROOT).join(named).exists();
            let is_a_module = Path::new(ROOT).join(format!("{named}.rs")).exists();
            // As the text of the product names its parts: speaker/drive is speaker/src/drive.rs.
            let inside = named
                .split_once('/')
                .map(|(part, rest)| format!("{part}/src/{rest}.rs"));
            let is_inside = inside.is_some_and(|inside| Path::new(ROOT).join(inside).exists());
            let document = document.display();
            assert!(is_there || is_a_module || is_inside, "{document}: {named}");
        }
    }
}
