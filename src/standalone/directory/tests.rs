use std::collections::BTreeMap;

use ironlb_config::{ManifestKey, Subject};
use ironlb_model::Config;

use super::*;

const GOOD: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer}\n";
const BROKEN: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: we";

struct Folder {
    root: tempfile::TempDir,
    directory: Directory,
    config: Config,
    objects: Objects,
    services: BTreeMap<ManifestKey, String>,
}

/// What is in force, and what is wrong.
#[derive(Debug)]
struct Seen {
    services: Vec<String>,
    errors: Vec<Error>,
}

impl Folder {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("manifests")).unwrap();
        let directory = Self::open(root.path());
        Self {
            root,
            directory,
            config: Config::default(),
            objects: Objects::default(),
            services: BTreeMap::new(),
        }
    }

    fn open(root: &Path) -> Directory {
        Directory::new(&root.join("manifests"), &root.join("state"), true)
    }

    /// As after a new start of the process.
    fn restart(&mut self) {
        self.directory = Self::open(self.root.path());
        let remembered = self.directory.remembered();
        self.config = ironlb_config::lower(&remembered, &Config::default()).config;
        self.services.clear();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("manifests").join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// What there is once every file rests, judged as the site judges it.
    fn read(&mut self) -> Seen {
        self.read_touched(&[])
    }

    /// The same, after a look at these alone; at all where none is named.
    fn read_touched(&mut self, names: &[&str]) -> Seen {
        let mut touched = match names {
            [] => Touched::All,
            names => Touched::Paths(names.iter().map(|name| self.path(name)).collect()),
        };
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            let reading = self.directory.read(&touched).unwrap();
            if let Some(reading) = reading
                && let Some(seen) = self.take(reading)
            {
                return seen;
            }
            if touched != Touched::All {
                touched = Touched::nothing();
            }
            assert!(Instant::now() < limit, "no rest");
        }
    }

    fn take(&mut self, reading: Reading) -> Option<Seen> {
        for Difference { before, now } in &reading.differences {
            let either = now.as_ref().or(before.as_ref()).unwrap();
            let Subject::Service(service) = either.subject() else {
                continue;
            };
            let shown = match service.is_load_balancer {
                true => service.key.name.to_string(),
                false => format!("{} of another type", service.key.name),
            };
            match now {
                Some(_) => drop(self.services.insert(either.key().clone(), shown)),
                None => drop(self.services.remove(either.key())),
            }
        }
        let is_anew = reading.configuration.is_some();
        self.objects = reading
            .configuration
            .unwrap_or_else(|| self.objects.clone());
        let lowered = ironlb_config::lower(&self.objects, &self.config);
        self.directory.judge(&lowered.errors, is_anew);
        self.directory.keep();
        self.config = lowered.config;
        let mut services: Vec<String> = self.services.values().cloned().collect();
        services.sort();
        let errors = [reading.errors, lowered.errors].concat();
        (!reading.restless).then_some(Seen { services, errors })
    }

    fn pools(&self) -> Vec<String> {
        let pools = self.config.pools.values();
        pools
            .map(|pool| format!("{} {}", pool.name, pool.ranges[0]))
            .collect()
    }
}

fn services(seen: &Seen) -> &[String] {
    &seen.services
}

fn service(name: &str) -> String {
    GOOD.replace("web", name)
}

/// The same Service, changed.
fn inner(name: &str) -> String {
    service(name).replace("LoadBalancer", "ClusterIP")
}

/// A Service that is not as it should be.
fn wrong(name: &str) -> String {
    service(name).replace("spec: {", "spec: {ports: 3, ")
}

fn pool(name: &str, addresses: &str) -> String {
    format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: {name}}}\n\
         spec: {{addresses: ['{addresses}']}}\n"
    )
}

fn joined(documents: &[String]) -> String {
    documents.join("---\n")
}

/// The system's own note of a change cannot be set, so what looks as it was is as it was.
#[test]
fn a_file_is_read_again_when_it_has_changed_and_its_writer_hides_it() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    assert_eq!(services(&folder.read()), ["web"]);
    let before = fs::metadata(folder.path("web.yaml")).unwrap();
    folder.write("web.yaml", GOOD.replace("web", "two"));
    let file = fs::File::options()
        .write(true)
        .open(folder.path("web.yaml"));
    file.unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    let after = fs::metadata(folder.path("web.yaml")).unwrap();
    assert_eq!(
        (after.modified().unwrap(), after.len()),
        (before.modified().unwrap(), before.len())
    );
    assert_eq!(services(&folder.read()), ["two"]);
}

#[test]
fn files_that_are_hidden_or_of_other_kinds_are_not_read() {
    let mut folder = Folder::new();
    for name in [".hidden.yaml", "web.yaml.swp", "notes.txt", "web.yaml~"] {
        folder.write(name, BROKEN);
    }
    folder.write("web.yaml", GOOD);
    let reading = folder.read();
    assert_eq!(services(&reading), ["web"]);
    assert!(reading.errors.is_empty());
}

#[test]
fn directories_below_are_read_too() {
    let mut folder = Folder::new();
    fs::create_dir(folder.path("team")).unwrap();
    fs::create_dir(folder.path(".git")).unwrap();
    folder.write("team/web.yaml", GOOD);
    folder.write(".git/old.yaml", BROKEN);
    let reading = folder.read();
    assert_eq!(services(&reading), ["web"]);
    assert!(reading.errors.is_empty());
}

/// A folder as a ConfigMap is mounted: files behind links, in a directory behind another link. It is in its first state.
fn mounted() -> Folder {
    let folder = Folder::new();
    for (state, text) in [("..first", service("web")), ("..second", service("other"))] {
        fs::create_dir(folder.path(state)).unwrap();
        folder.write(&format!("{state}/web.yaml"), text);
    }
    swap(&folder, "..first");
    std::os::unix::fs::symlink("..data/web.yaml", folder.path("web.yaml")).unwrap();
    folder
}

/// Another state of what is mounted is there, all at once.
fn swap(folder: &Folder, state: &str) {
    let link = folder.path("..new");
    std::os::unix::fs::symlink(state, &link).unwrap();
    fs::rename(link, folder.path("..data")).unwrap();
}

#[test]
fn a_mounted_configmap_is_read_through_its_links() {
    let mut folder = mounted();
    assert_eq!(services(&folder.read()), ["web"]);
    swap(&folder, "..second");
    assert_eq!(services(&folder.read()), ["other"]);
}

#[test]
fn a_file_that_breaks_counts_as_what_it_was_and_its_error_is_told() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    folder.write("web.yaml", BROKEN);
    let reading = folder.read();
    assert_eq!(services(&reading), ["web"]);
    assert!(
        reading.errors[0].source.ends_with("web.yaml"),
        "{:?}",
        reading.errors
    );
    folder.write("web.yaml", service("other"));
    assert_eq!(services(&folder.read()), ["other"]);
}

#[test]
fn a_broken_file_counts_as_what_it_was_also_after_a_restart() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    folder.write("web.yaml", BROKEN);
    for _ in 0..2 {
        folder.restart();
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        assert_eq!(reading.errors.len(), 1);
    }
}

#[test]
fn what_is_good_in_a_file_comes_in_and_what_is_wrong_stays_as_it_was() {
    let mut folder = Folder::new();
    folder.write("all.yaml", joined(&[service("a"), service("b")]));
    folder.read();
    folder.write(
        "all.yaml",
        joined(&[wrong("a"), inner("b"), service("new")]),
    );
    for _ in 0..2 {
        let reading = folder.read();
        assert_eq!(services(&reading), ["a", "b of another type", "new"]);
        assert_eq!(reading.errors.len(), 1, "{:?}", reading.errors);
        assert_eq!(reading.errors[0].object, "Service/a");
        folder.restart();
    }
}

#[test]
fn each_object_keeps_the_state_that_it_was_good_in_last() {
    let mut folder = Folder::new();
    folder.write("all.yaml", joined(&[service("a"), service("b")]));
    folder.read();
    folder.write("all.yaml", joined(&[wrong("a"), inner("b")]));
    folder.read();
    folder.write("all.yaml", joined(&[wrong("a"), wrong("b")]));
    for _ in 0..2 {
        assert_eq!(services(&folder.read()), ["a", "b of another type"]);
        folder.restart();
    }
}

#[test]
fn what_is_removed_beside_an_object_in_error_is_gone() {
    let mut folder = Folder::new();
    folder.write("all.yaml", joined(&[service("a"), service("b")]));
    folder.read();
    folder.write("all.yaml", wrong("a"));
    assert_eq!(services(&folder.read()), ["a"]);
    folder.write("all.yaml", "");
    assert_eq!(services(&folder.read()), [""; 0]);
}

#[test]
fn what_is_missing_while_a_part_cannot_be_read_may_be_in_that_part() {
    let mut folder = Folder::new();
    folder.write("all.yaml", joined(&[service("a"), service("b")]));
    folder.read();
    folder.write(
        "all.yaml",
        joined(&[service("new"), BROKEN.to_owned() + "\n"]),
    );
    for _ in 0..2 {
        let reading = folder.read();
        assert_eq!(services(&reading), ["a", "b", "new"]);
        folder.restart();
    }
    folder.write("all.yaml", service("new"));
    assert_eq!(services(&folder.read()), ["new"]);
}

#[test]
fn a_line_between_two_documents_that_is_lost_takes_neither_of_them_away() {
    let mut folder = Folder::new();
    folder.write(
        "all.yaml",
        joined(&[pool("first", "192.0.2.0/24"), service("web")]),
    );
    folder.read();
    folder.write("all.yaml", pool("first", "192.0.2.0/24") + &service("web"));
    let reading = folder.read();
    assert_eq!(services(&reading), ["web"]);
    assert_eq!(folder.pools(), ["first 192.0.2.0/24"]);
    assert!(!reading.errors.is_empty());
}

#[test]
fn a_pool_in_error_keeps_its_addresses_also_after_a_restart() {
    let mut folder = Folder::new();
    folder.write(
        "pools.yaml",
        joined(&[pool("a", "192.0.2.0/24"), pool("b", "198.51.100.0/24")]),
    );
    folder.read();
    folder.write(
        "pools.yaml",
        joined(&[pool("a", "192.0.2.0/99"), pool("b", "203.0.113.0/24")]),
    );
    for _ in 0..3 {
        let reading = folder.read();
        assert_eq!(folder.pools(), ["a 192.0.2.0/24", "b 203.0.113.0/24"]);
        assert_eq!(reading.errors.len(), 1, "{:?}", reading.errors);
        folder.restart();
    }
}

#[test]
fn of_a_service_in_two_files_the_one_in_force_stays_and_the_error_names_both() {
    let mut folder = Folder::new();
    folder.write("b.yaml", service("web"));
    folder.read();
    folder.write("a.yaml", inner("web"));
    for _ in 0..2 {
        let reading = folder.read();
        assert_eq!(services(&reading), ["web"]);
        let error = reading.errors[0].to_string();
        assert!(
            error.starts_with(folder.path("a.yaml:3").to_str().unwrap()),
            "{error}"
        );
        assert!(
            error.contains("\"default/web\" is there twice; Service/web ("),
            "{error}"
        );
        assert!(error.contains("b.yaml:3) is in force"), "{error}");
        folder.restart();
    }
    folder.read();
    folder.remove("b.yaml");
    let reading = folder.read();
    assert_eq!(services(&reading), ["web of another type"]);
    assert!(reading.errors.is_empty());
}

#[test]
fn a_service_may_move_from_a_broken_file_to_another() {
    let mut folder = Folder::new();
    folder.write("old.yaml", service("web"));
    folder.read();
    folder.write("old.yaml", BROKEN);
    folder.write("new.yaml", inner("web"));
    let reading = folder.read();
    assert_eq!(services(&reading), ["web of another type"]);
    assert_eq!(reading.errors.len(), 1, "{:?}", reading.errors);
}

#[test]
fn a_file_that_is_no_text_counts_as_what_it_was() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    folder.write("web.yaml", b"apiVersion: v1\n\xff\n");
    let reading = folder.read();
    assert_eq!(services(&reading), ["web"]);
    let error = reading.errors[0].to_string();
    assert!(error.ends_with("not UTF-8 text after byte 15"), "{error}");
    folder.write("web.yaml", GOOD);
    assert!(folder.read().errors.is_empty());
}

#[test]
fn a_file_that_did_not_change_is_not_parsed_again() {
    let mut folder = Folder::new();
    folder.write("same.yaml", service("same"));
    folder.write("web.yaml", service("web"));
    folder.read();
    let parsed = |folder: &Folder, name: &str| {
        let file = &folder.directory.files[folder.path(name).to_str().unwrap()];
        Arc::as_ptr(&file.good()[0].text)
    };
    let before = parsed(&folder, "same.yaml");
    folder.write("web.yaml", inner("web"));
    assert_eq!(services(&folder.read()), ["same", "web of another type"]);
    assert_eq!(parsed(&folder, "same.yaml"), before);
}

#[test]
fn a_file_that_is_removed_takes_its_objects_with_it() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    folder.remove("web.yaml");
    assert_eq!(services(&folder.read()), [""; 0]);
}

#[test]
fn a_directory_without_a_change_gives_no_reading() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    assert!(folder.directory.read(&Touched::All).unwrap().is_none());
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_not_empty() {
    let mut folder = Folder::new();
    folder.write("web.yaml", GOOD);
    folder.read();
    fs::remove_dir_all(folder.root.path().join("manifests")).unwrap();
    assert!(folder.directory.read(&Touched::All).is_err());
}

#[test]
fn only_what_was_touched_is_looked_at_and_a_hint_that_says_little_means_all() {
    let mut folder = Folder::new();
    for name in ["a", "b"] {
        folder.write(&format!("{name}.yaml"), service(name));
    }
    folder.read();
    folder.write("a.yaml", inner("a"));
    folder.write("b.yaml", inner("b"));
    let seen = folder.read_touched(&["a.yaml"]);
    assert_eq!(services(&seen), ["a of another type", "b"]);
    let nothing = folder.directory.read(&Touched::nothing()).unwrap();
    assert!(nothing.is_none());

    folder.remove("a.yaml");
    folder.write("notes.txt", "");
    assert_eq!(
        services(&folder.read_touched(&["notes.txt", "a.yaml"])),
        ["b"]
    );

    fs::create_dir(folder.path("team")).unwrap();
    folder.write("team/c.yaml", service("c"));
    let seen = folder.read_touched(&["team"]);
    assert_eq!(services(&seen), ["b of another type", "c"]);
    fs::rename(folder.path("team"), folder.root.path().join("elsewhere")).unwrap();
    assert_eq!(
        services(&folder.read_touched(&["team"])),
        ["b of another type"]
    );
}

#[test]
fn where_a_link_is_among_the_files_any_hint_means_all() {
    let mut folder = mounted();
    assert_eq!(services(&folder.read()), ["web"]);
    swap(&folder, "..second");
    assert_eq!(services(&folder.read_touched(&["..data"])), ["other"]);
}

#[test]
fn what_changes_one_file_changes_no_more_of_the_copy_and_all_is_there_after_a_restart() {
    let mut folder = Folder::new();
    for name in ["a", "b", "c"] {
        folder.write(&format!("{name}.yaml"), service(name));
    }
    folder.read();
    let copy = state::copy_path(&folder.root.path().join("state"));
    let before = fs::read_to_string(&copy).unwrap();
    folder.write("a.yaml", inner("a"));
    folder.remove("b.yaml");
    folder.read();
    let after = fs::read_to_string(&copy).unwrap();
    let added = after.strip_prefix(&before).unwrap();
    assert_eq!(added.matches("apiVersion").count(), 1, "{added}");

    // A crash in the middle of the next.
    fs::write(&copy, format!("{after}{{\"files\": {{\"c.ya")).unwrap();
    folder.restart();
    for name in ["a", "b", "c"] {
        folder.write(&format!("{name}.yaml"), BROKEN);
    }
    assert_eq!(services(&folder.read()), ["a of another type", "c"]);
}

#[test]
fn a_copy_to_which_much_was_added_is_written_anew() {
    let mut folder = Folder::new();
    let copy = state::copy_path(&folder.root.path().join("state"));
    let padding = format!("# {}\n", "x".repeat(400_000));
    let mut is_anew = false;
    for number in 0..6 {
        let text = format!("# {number}\n{padding}{}", service("web"));
        folder.write("web.yaml", &text);
        assert_eq!(services(&folder.read()), ["web"]);
        let lines = fs::read_to_string(&copy).unwrap().lines().count();
        is_anew |= number > 0 && lines == 1;
    }
    assert!(is_anew);
}

/// Whoever runs as root may read every directory, so this one is made to look as if it could not be read.
#[test]
fn a_directory_below_that_cannot_be_read_keeps_what_was_in_it_and_holds_up_nothing_else() {
    let mut folder = Folder::new();
    fs::create_dir(folder.path("team")).unwrap();
    folder.write("team/web.yaml", service("web"));
    folder.write("a.yaml", service("a"));
    folder.read();
    folder.write("a.yaml", inner("a"));
    let limit = Instant::now() + Duration::from_secs(10);
    let seen = loop {
        let mut found = Found::default();
        found.search(&folder.path("")).unwrap();
        found.paths.remove(&folder.path("team/web.yaml"));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        found.troubles.push((folder.path("team"), denied));
        let reading = folder.directory.look(found, true);
        if let Some(seen) = reading.and_then(|reading| folder.take(reading)) {
            break seen;
        }
        assert!(Instant::now() < limit, "no rest");
    };
    assert_eq!(services(&seen), ["a of another type", "web"]);
    assert!(
        seen.errors[0].to_string().contains("team: cannot be read"),
        "{:?}",
        seen.errors
    );
    let seen = folder.read();
    assert_eq!(services(&seen), ["a of another type", "web"]);
    assert_eq!(seen.errors, []);
}
