use super::*;

fn parse(text: &str) -> std::result::Result<Topology, String> {
    Topology::parse(text, Path::new(env!("CARGO_MANIFEST_DIR")))
}

const SHORT: &str = r#"
name: pair
topology:
  defaults: {kind: linux}
  kinds:
    linux: {image: "nicolaka/netshoot:v0.13", network-mode: none}
  groups:
    host: {cmd: sleep infinity, sysctls: {net.ipv4.ip_forward: "1"}}
  nodes:
    a: {group: host, exec: [ip addr add 10.0.0.1/31 dev eth1]}
    b: {group: host, sysctls: {net.ipv4.ip_forward: "0"}}
    b-lb: {image: "ironlb:0.1.0", user: "0:0", network-mode: "container:b", cmd: standalone, binds: ["src:/manifests:ro"]}
  links:
    - endpoints: ["a:eth1", "b:eth1"]
    - type: veth
      endpoints: [{node: a, interface: eth2}, {node: b, interface: eth2}]
"#;

/// Where the topologies of the project are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

#[test]
fn the_topologies_of_the_project_make_sense_and_use_every_file_beside_them() {
    let mut used = BTreeSet::new();
    let (mut others, mut count) = (Vec::new(), 0);
    for path in files(&folder()) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = name.strip_suffix(".clab.yml") else {
            others.push(path);
            continue;
        };
        let topology = Topology::read(&path).unwrap();
        assert_eq!(topology.name(), name);
        used.extend(topology.sources().map(Path::to_owned));
        count += 1;
    }
    assert!(count > 0);
    others.retain(|path| !path.ancestors().any(|it| used.contains(it)));
    others.retain(|path| path.extension().is_none_or(|it| it != "rs"));
    assert_eq!(others, [folder().join("README.md")]);
}

#[test]
fn both_forms_of_a_link_are_read_and_the_specific_word_counts() {
    let topology = parse(SHORT).unwrap();
    assert_eq!(topology.name(), "pair");
    assert_eq!(topology.links.len(), 2);
    assert_eq!(topology.links[1][1].interface, "eth2");
    assert_eq!(topology.nodes["a"].sysctls["net.ipv4.ip_forward"], "1");
    assert_eq!(topology.nodes["b"].sysctls["net.ipv4.ip_forward"], "0");
    assert_eq!(topology.nodes["b-lb"].inside.as_deref(), Some("b"));
    let software: Vec<_> = topology.nodes().map(|(_, software)| software).collect();
    assert_eq!(software, [Software::Host, Software::Host, Software::Ironlb]);
    assert!(topology.sources().all(Path::is_dir));
}

#[test]
fn what_containerlab_would_refuse_or_the_lab_not_do_is_an_error_that_says_so() {
    for (from, to, error) in [
        ("name: pair", "named: pair", "named"),
        ("cmd: sleep", "command: sleep", "command"),
        (
            "cmd: sleep infinity,",
            "cmd: sleep infinity, memory: 1Gb,",
            "memory",
        ),
        ("kind: linux", "kind: nokia_srlinux", "nokia_srlinux"),
        ("netshoot:v0.13", "netshoot", "no tag"),
        ("netshoot:v0.13", "netshoot:latest", "no tag"),
        ("nicolaka/netshoot", "alpine", "in place of the image"),
        ("network-mode: none", "network-mode: bridge", "bridge"),
        ("container:b", "container:c", "shares the network of c"),
        ("group: host, exec", "group: hosts, exec", "the group hosts"),
        ("ip addr add", "sh -c ip addr add", "sh -c ip"),
        ("sleep infinity", "sleep 1", "sleep 1"),
        ("user: \"0:0\", ", "", "user"),
        (
            "src:/manifests",
            "sources:/manifests",
            "sources is bound and is not there",
        ),
        ("src:/manifests", "src:manifests", "absolute path"),
        ("\"b:eth1\"", "\"c:eth1\"", "a link ends at c"),
        ("\"b:eth1\"", "\"b-lb:eth1\"", "no network of its own"),
        ("\"b:eth1\"", "\"b:eth2\"", "b:eth2 has two links"),
        ("\"b:eth1\"", "\"b:eth0\"", "eth0"),
        ("\"b:eth1\"", "b", "b cannot have an interface \"\""),
        ("type: veth", "type: macvlan", "macvlan"),
        (", \"b:eth1\"", "", "endpoints"),
    ] {
        let text = SHORT.replacen(from, to, 1);
        assert_ne!(text, SHORT, "{from}");
        let found = parse(&text).expect_err(to);
        assert!(found.contains(error), "{to}: {found}");
    }
}
