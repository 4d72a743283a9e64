//! How fast `ironlb standalone` is with many Services, and how large: one more manifest among them.

use std::fs::{self, File};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ironlb_lab::manifest::{endpoint_slice, file, l2_advertisement, node, pool, service};
use ironlb_lab::{Lab, Process, Switch};

use crate::dist;
use crate::proc::{RESIDENT, megabytes, process_time};
use crate::product::wait_until_quiet;
use crate::report::{Measurement, Report, median};
use crate::wire::Wire;

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let binary = dist::binary()?;
    let [few, many] = SERVICES;
    let least = Site::start(&binary, few)?.measure()?;
    let measured = Site::start(&binary, many)?.measure()?;
    let case = |what: &str| format!("one more manifest among {many}: {what}");
    let count = many as u64;
    let say = |what: &str, value: f64, few: f64| {
        report.say(Measurement::new(case(what), count, value, "s").peer(few))
    };
    let written = Measurement::new(case("in the state file"), count, measured.in_state, "s");
    report.say(written.peer(least.in_state).limit(measured.write))?;
    say("answered by ARP", measured.answered, least.answered)?;
    say("CPU time of the process", measured.cpu, least.cpu)?;
    let case = format!("resident with {many}");
    report.say(Measurement::new(case, count, measured.resident, "MB").peer(least.resident))
}

/// A host with a directory of manifests, a file for each Service, and the process that reads it.
struct Site {
    manifests: PathBuf,
    state: PathBuf,
    services: usize,
    process: Process,
    wire: Wire,
    _lan: Switch,
    _lab: Lab,
}

/// Medians, in seconds and MB.
struct Measured {
    in_state: f64,
    answered: f64,
    cpu: f64,
    resident: f64,
    /// To write, sync and rename a file as long as the state file, and sync its directory.
    write: f64,
}

impl Site {
    /// Runs until all have an address, and it rests.
    fn start(binary: &Path, services: usize) -> anyhow::Result<Self> {
        let lab = Lab::new("bench-standalone")?;
        let lan = lab.switch("lan")?;
        let (host, client) = (lab.host(NODE)?, lab.host("client")?);
        host.connect(&lan, "eth0", &["10.0.0.1/8"])?;
        client.connect(&lan, "eth0", &[&format!("{CLIENT}/8")])?;
        let manifests = lab.directory().join("manifests");
        fs::create_dir(&manifests)?;
        let site = [
            pool("pool", "10.64.0.0/16"),
            l2_advertisement("all"),
            node(NODE, ""),
        ];
        fs::write(manifests.join("site.yaml"), file(&site))?;
        for number in 0..services {
            fs::write(manifests.join(file_name(number)), objects(number))?;
        }
        let state = lab.directory().join("state.json");
        let mut command = Command::new(binary);
        command.arg("standalone").arg("-f").arg(&manifests);
        command.arg("--state").arg(&state).args(["--node", NODE]);
        command.env("IRONLB_LOG", "warn");
        let process = host.spawn_as("ironlb", command)?;
        let wire = Wire::of(&client, "eth0", CLIENT)?;
        let site = Self {
            manifests,
            state,
            services,
            process,
            wire,
            _lan: lan,
            _lab: lab,
        };
        let begin = Instant::now();
        while fs::read_to_string(&site.state).map_or(0, |text| text.matches("\"ips\"").count())
            < services
        {
            anyhow::ensure!(begin.elapsed() < START, "not all Services have an address");
            thread::sleep(Duration::from_millis(100));
        }
        wait_until_quiet(&site.process)?;
        Ok(site)
    }

    fn measure(self) -> anyhow::Result<Measured> {
        let (mut in_state, mut answered, mut cpu, mut write) = (vec![], vec![], vec![], vec![]);
        for number in self.services..self.services + RUNS {
            let path = self.manifests.join(file_name(number));
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, objects(number))?;
            thread::sleep(AFTERWARDS);
            let before = process_time(self.process.id())?;
            let begin = Instant::now();
            fs::rename(temporary, path)?;
            let address = self.allocated(number)?;
            in_state.push(begin.elapsed().as_secs_f64());
            self.wire.who_has(address)?;
            answered.push(begin.elapsed().as_secs_f64());
            thread::sleep(AFTERWARDS);
            cpu.push((process_time(self.process.id())? - before).as_secs_f64());
            write.push(self.write_as_much()?);
        }
        Ok(Measured {
            in_state: median(in_state),
            answered: median(answered),
            cpu: median(cpu),
            resident: megabytes(self.process.id(), RESIDENT)?,
            write: median(write),
        })
    }

    /// Waits until the state file says which address a Service has.
    fn allocated(&self, number: usize) -> anyhow::Result<IpAddr> {
        let wanted = format!("\"default/{}\"", name(number));
        let begin = Instant::now();
        while begin.elapsed() < START {
            let text = fs::read_to_string(&self.state)?;
            if let Some((_, after)) = text.split_once(&wanted) {
                // "ips": ["192.0.2.1"]
                let address = after.split('"').nth(3).context("an address")?;
                return Ok(address.parse()?);
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        anyhow::bail!("{wanted} is not in the state file")
    }

    fn write_as_much(&self) -> anyhow::Result<f64> {
        let bytes = fs::read(&self.state)?;
        let path = self.state.with_extension("other");
        let temporary = path.with_extension("new");
        let begin = Instant::now();
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(temporary, &path)?;
        File::open(path.parent().context("its directory")?)?.sync_all()?;
        Ok(begin.elapsed().as_secs_f64())
    }
}

/// A Service, and an EndpointSlice with an endpoint on the node.
fn objects(number: usize) -> String {
    let name = name(number);
    let endpoints = [("10.0.0.1".to_owned(), NODE)];
    let ports = "{name: http, port: 8080, protocol: TCP}";
    let slice = endpoint_slice(&name, "IPv4", &endpoints, ports);
    file(&[service(&name, "ports: [{name: http, port: 80}]"), slice])
}

fn name(number: usize) -> String {
    format!("service-{number}")
}

fn file_name(number: usize) -> String {
    format!("{}.yaml", name(number))
}

const SERVICES: [usize; 2] = [1_000, 10_000];
const RUNS: usize = 11;
const NODE: &str = "n1";
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const START: Duration = Duration::from_secs(240);
/// What one change leaves to do, such as the copy of the manifests, is done in this time.
const AFTERWARDS: Duration = Duration::from_millis(500);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
