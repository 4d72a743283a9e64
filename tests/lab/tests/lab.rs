//! The lab itself: what a topology can do, and that nothing of it remains.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it should be"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use ironlb_lab::{
    Host, Lab, Link, Signal, Switch, ask_again, backend::Program, eventually, eventually_ok,
    needs_the_lab,
};

#[test]
fn hosts_on_a_switch_reach_each_other_by_ipv4_and_ipv6_at_once() {
    needs_the_lab!();
    let lan = Lan::new("reach");
    for server in [V4, V6] {
        let server: SocketAddr = server.parse().unwrap();
        lan.server.backend(&program(), "web", &[server]).unwrap();
        for answer in [lan.client.tcp_get(server), lan.client.udp_exchange(server)] {
            let answer = answer.unwrap();
            assert_eq!(answer.backend, "web");
            assert_eq!(answer.client.is_ipv4(), server.is_ipv4());
        }
    }
}

#[test]
fn hosts_of_different_labs_share_nothing() {
    needs_the_lab!();
    let (one, two) = (Lan::new("one"), Lan::new("two"));
    one.server
        .backend(&program(), "one", &[V4.parse().unwrap()])
        .unwrap();
    assert!(two.client.tcp_get(V4.parse().unwrap()).is_err());
    assert_eq!(
        one.client.tcp_get(V4.parse().unwrap()).unwrap().backend,
        "one"
    );
}

#[test]
fn a_pulled_cable_cuts_a_host_off_until_it_is_put_in_again() {
    needs_the_lab!();
    let lan = Lan::new("cable");
    for server in [V4, V6] {
        let server: SocketAddr = server.parse().unwrap();
        lan.server.backend(&program(), "web", &[server]).unwrap();
        lan.cable.unplug().unwrap();
        assert!(lan.client.tcp_get(server).is_err());
        lan.cable.plug().unwrap();
        eventually_ok("the server is back", PATIENCE, || {
            lan.client.tcp_get(server)
        })
        .unwrap();
    }
}

#[test]
fn an_interface_that_was_switched_off_keeps_its_addresses() {
    needs_the_lab!();
    let lan = Lan::new("off");
    for server in [V4, V6] {
        let server: SocketAddr = server.parse().unwrap();
        lan.server.backend(&program(), "web", &[server]).unwrap();
        lan.cable.down().unwrap();
        assert!(lan.client.tcp_get(server).is_err());
        lan.cable.up().unwrap();
        eventually_ok("the server is back", PATIENCE, || {
            lan.client.tcp_get(server)
        })
        .unwrap();
    }
}

#[test]
fn the_wire_says_who_has_an_address() {
    needs_the_lab!();
    let lan = Lan::new("who");
    for server in [V4, V6] {
        let ip = server.parse::<SocketAddr>().unwrap().ip();
        assert_eq!(lan.client.who_has(ip).unwrap(), Some(lan.cable.mac()));
        assert_eq!(lan.client.neighbour(ip).unwrap(), Some(lan.cable.mac()));
    }
    for nobody in ["10.0.0.99", "fd00::99"] {
        assert_eq!(lan.client.who_has(nobody.parse().unwrap()).unwrap(), None);
    }
}

#[test]
fn a_permanent_neighbour_is_not_asked_for() {
    needs_the_lab!();
    let lan = Lan::new("permanent");
    for (vip, server) in [
        ("10.0.0.50/32", "10.0.0.50:80"),
        ("fd00::50/128", "[fd00::50]:80"),
    ] {
        let server: SocketAddr = server.parse().unwrap();
        lan.server.add_address("lo", vip).unwrap();
        lan.server.backend(&program(), "vip", &[server]).unwrap();
        // Of its own accord the server would not say that it has an IPv6 address of its loopback interface.
        lan.client
            .set_neighbour("eth0", server.ip(), lan.cable.mac())
            .unwrap();
        assert_eq!(lan.client.tcp_get(server).unwrap().backend, "vip");
    }
}

#[test]
fn a_router_joins_two_networks() {
    needs_the_lab!();
    let lab = Lab::new("routed").unwrap();
    let (left, right) = (lab.switch("left").unwrap(), lab.switch("right").unwrap());
    let router = lab.router("router").unwrap();
    router
        .connect(&left, "eth0", &["10.0.1.1/24", "fd00:1::1/64"])
        .unwrap();
    router
        .connect(&right, "eth1", &["10.0.2.1/24", "fd00:2::1/64"])
        .unwrap();
    let client = lab.host("client").unwrap();
    client
        .connect(&left, "eth0", &["10.0.1.2/24", "fd00:1::2/64"])
        .unwrap();
    client.add_route("0.0.0.0/0", "10.0.1.1").unwrap();
    client.add_route("::/0", "fd00:1::1").unwrap();
    let server = lab.host("server").unwrap();
    server
        .connect(&right, "eth0", &["10.0.2.2/24", "fd00:2::2/64"])
        .unwrap();
    server.add_route("10.0.1.0/24", "10.0.2.1").unwrap();
    server.add_route("fd00:1::/64", "fd00:2::1").unwrap();
    for (address, seen) in [("10.0.2.2:80", "10.0.1.2"), ("[fd00:2::2]:80", "fd00:1::2")] {
        server
            .backend(&program(), "far", &[address.parse().unwrap()])
            .unwrap();
        let answer = client.tcp_get(address.parse().unwrap()).unwrap();
        assert_eq!(answer.client.ip().to_string(), seen);
    }
}

#[test]
fn two_hosts_may_be_joined_by_a_cable_alone() {
    needs_the_lab!();
    let lab = Lab::new("cable").unwrap();
    let (a, b) = (lab.host("a").unwrap(), lab.host("b").unwrap());
    let (near, far) = a
        .connect_to(&b, "eth0", &["10.9.0.1/31"], "eth7", &["10.9.0.0/31"])
        .unwrap();
    assert_eq!(
        a.who_has("10.9.0.0".parse().unwrap()).unwrap(),
        Some(far.mac())
    );
    assert_eq!(
        b.who_has("10.9.0.1".parse().unwrap()).unwrap(),
        Some(near.mac())
    );
}

#[test]
fn a_connection_stays_with_a_paused_process_and_goes_on_with_it() {
    needs_the_lab!();
    let lan = Lan::new("pause");
    let server: SocketAddr = V4.parse().unwrap();
    let process = lan.server.backend(&program(), "web", &[server]).unwrap();
    let mut connection = lan.client.tcp_connect(server).unwrap();
    assert_eq!(ask_again(&mut connection).unwrap().backend, "web");

    process.pause().unwrap();
    assert!(process.is_running());
    assert!(ask_again(&mut connection).is_err());
    process.resume().unwrap();
    eventually_ok("it answers again", PATIENCE, || ask_again(&mut connection)).unwrap();

    process.kill().unwrap();
    assert!(!process.is_running());
    // An answer that came after the pause may still be there to be read.
    eventually("no more answers", PATIENCE, || {
        ask_again(&mut connection).is_err()
    })
    .unwrap();
}

#[test]
fn a_log_has_what_a_process_prints_on_both_outputs() {
    needs_the_lab!();
    let lan = Lan::new("logs");
    let process = lan
        .server
        .spawn_as("talk", shell("echo one; echo two >&2; exec sleep 60"))
        .unwrap();
    assert_eq!(process.wait_for_line("two", PATIENCE).unwrap(), "two");
    assert_eq!(process.log_tail(1), "two");
    assert_eq!(process.log(), "one\ntwo\n");
    assert!(
        lan.lab
            .log_tails(5)
            .contains("server/talk (running)\none\ntwo")
    );

    process.signal(Signal::Terminate).unwrap();
    assert_eq!(process.wait(PATIENCE).unwrap().signal(), Some(15));
}

#[test]
fn waiting_for_a_line_of_a_process_that_ended_shows_its_log() {
    needs_the_lab!();
    let lan = Lan::new("ended");
    let process = lan
        .server
        .spawn(shell("echo this went wrong; exit 3"))
        .unwrap();
    let error = process
        .wait_for_line("ready", PATIENCE)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("server/sh ended with exit status: 3"),
        "{error}"
    );
    assert!(error.contains("this went wrong"), "{error}");
}

#[test]
fn a_process_ends_with_its_lab_though_the_thread_that_started_it_ends_before() {
    needs_the_lab!();
    let lan = Lan::new("threads");
    let process = std::thread::scope(|scope| {
        scope
            .spawn(|| lan.server.spawn(shell("exec sleep 60")).unwrap())
            .join()
            .unwrap()
    });
    ironlb_lab::holds_for("it runs", Duration::from_millis(200), || {
        process.is_running()
    })
    .unwrap();
    drop(lan);
    assert!(!process.is_running());
}

#[test]
fn two_hosts_of_one_name_are_refused() {
    needs_the_lab!();
    let lab = Lab::new("names").unwrap();
    lab.host("n1").unwrap();
    let error = lab.host("n1").unwrap_err().to_string();
    assert!(error.contains("add the host n1 to names"), "{error}");
}

#[test]
fn a_panic_leaves_no_process_and_no_file() {
    needs_the_lab!();
    let mut left = None;
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        let lan = Lan::new("panic");
        let process = lan
            .server
            .spawn(shell("echo last words; exec sleep 60"))
            .unwrap();
        process.wait_for_line("last words", PATIENCE).unwrap();
        left = Some((process.id(), lan.lab.directory().to_owned()));
        panic!("on purpose: the log that follows belongs to this test");
    }));
    assert!(caught.is_err());
    let (process, directory) = left.unwrap();
    assert!(!runs(process));
    assert!(!directory.exists());
}

#[test]
fn a_killed_owner_leaves_no_process_and_the_next_lab_removes_its_files() {
    needs_the_lab!();
    let (mut owner, process, directory) = another_program_with_a_lab();
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("its process is gone", PATIENCE, || !runs(process)).unwrap();
    let _next = Lab::new("next").unwrap();
    assert!(!Path::new(&directory).exists());
}

#[test]
fn an_interrupted_owner_cleans_up_itself() {
    needs_the_lab!();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (mut owner, process, directory) = another_program_with_a_lab();
        Command::new("kill")
            .args([signal, &owner.id().to_string()])
            .status()
            .unwrap();
        assert_eq!(owner.wait().unwrap().code(), Some(code));
        assert!(!runs(process));
        assert!(!Path::new(&directory).exists());
    }
}

#[test]
fn a_program_without_root_makes_a_lab_in_a_user_namespace() {
    needs_the_lab!();
    // The namespace's root is nobody outside, as in a program that any user starts.
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let allowed = Command::new("setpriv")
        .args(nobody)
        .args(["unshare", "-Urn", "true"])
        .output()
        .unwrap();
    if !allowed.status.success() {
        ironlb_lab::skip("user namespaces are not allowed here");
        return;
    }
    let copy = tempdir("unprivileged");
    let backend = copy.join("ironlb-backend");
    fs::copy(env!("CARGO_BIN_EXE_ironlb-backend"), &backend).unwrap();
    let output = Command::new("setpriv")
        .args(nobody)
        .arg(&backend)
        .arg("--self-test")
        .output()
        .unwrap();
    fs::remove_dir_all(copy).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("answered: self-test 10.0.0.2:"), "{text}");
}

/// A server and a client on one switch.
struct Lan {
    lab: Lab,
    _switch: Switch,
    server: Host,
    client: Host,
    cable: Link,
}

impl Lan {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let switch = lab.switch("lan").unwrap();
        let server = lab.host("server").unwrap();
        let client = lab.host("client").unwrap();
        let cable = server
            .connect(&switch, "eth0", &["10.0.0.1/24", "fd00::1/64"])
            .unwrap();
        client
            .connect(&switch, "eth0", &["10.0.0.2/24", "fd00::2/64"])
            .unwrap();
        Self {
            lab,
            _switch: switch,
            server,
            client,
            cable,
        }
    }
}

/// Another program that made a lab, the process in its lab and the lab's directory.
fn another_program_with_a_lab() -> (std::process::Child, u32, String) {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_ironlb-backend"))
        .arg("--stay")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let mut value = |key: &str| lines.find_map(|line| Some(line.strip_prefix(key)?.to_owned()));
    let process = value("process: ").unwrap().parse().unwrap();
    let directory = value("directory: ").unwrap();
    (owner, process, directory)
}

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_ironlb-backend"))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn tempdir(name: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = env::temp_dir().join(format!("ironlb-{name}-{}", std::process::id()));
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whether a process of that id is there and has not ended.
fn runs(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, state)| !state.starts_with('Z'))
}

const V4: &str = "10.0.0.1:80";
const V6: &str = "[fd00::1]:80";
const PATIENCE: Duration = Duration::from_secs(10);
