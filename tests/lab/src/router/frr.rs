use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Place, Software, program};
use crate::{Error, Process, Result};

/// FRRouting: zebra, staticd, bfdd and bgpd, asked through vtysh.
///
/// Questions are vtysh commands; end them with `json` for [`Router::show`](super::Router::show). Configuration is read as lines
/// typed in configuration mode: it adds to what there is, and `no ...` takes away.
///
/// Its daemons run as root, so that they can in a user namespace too, and so that they keep the mark by which the kernel ends
/// them with this program: a process that changes its user loses it. FRR insists that its user be in the group frrvty, so the daemons
/// see a group file of their own, and a directory of their own for crash logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frr;

impl Software for Frr {
    fn name(&self) -> &'static str {
        "FRR"
    }

    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>> {
        place.write("group", "root:x:0:root\nfrr:x:0:root\nfrrvty:x:0:root\n")?;
        place.write("vtysh.conf", "")?;
        let crash_logs = place.path("tmp");
        fs::create_dir(&crash_logs).map_err(|source| Error::File {
            path: crash_logs,
            source,
        })?;
        let mut processes = Vec::new();
        if let Err(error) = self.run(place, config, &mut processes) {
            // What has started is in the way of whatever is tried next.
            processes.iter().try_for_each(Process::kill)?;
            return Err(error);
        }
        Ok(processes)
    }

    fn ask(&self, place: &Place, question: &str) -> Result<String> {
        place.client(question, vtysh(place).args(["-c", question]))
    }

    fn configure(&self, place: &Place, config: &str) -> Result<()> {
        let file = place.write("added.conf", config)?;
        place.client(config, vtysh(place).arg("-f").arg(file))?;
        Ok(())
    }
}

impl Frr {
    fn run(self, place: &Place, config: &str, processes: &mut Vec<Process>) -> Result<()> {
        for daemon in DAEMONS {
            let process = place.spawn(daemon, command(place, daemon)?)?;
            processes.push(process.clone());
            place.wait_until_it_listens(&process, &format!("{daemon}.vty"))?;
        }
        // A BFD session on an interface that bfdd has not yet heard of stays silent.
        if let Some(zebra) = processes.first() {
            for client in ["static", "bfd", "bgp"] {
                let hello = format!("announce only {client} routes");
                zebra.wait_for_line(&hello, super::START)?;
            }
        }
        self.configure(place, config)
    }
}

fn command(place: &Place, daemon: &str) -> Result<Command> {
    let program = program(daemon, &[FOLDER], "frr")?;
    let config = place.write(&format!("{daemon}.conf"), "")?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", PREPARE])
        .arg(place.path("group"))
        .arg(place.path("tmp"))
        .arg(program)
        .args(["-u", "root", "-g", "root", "-P", "0", "--log", "stdout"])
        .args(["--log-level", "debugging"])
        .arg("--vty_socket")
        .arg(&place.directory)
        .arg("-z")
        .arg(place.path("zserv.api"))
        .arg("-i")
        .arg(place.path(&format!("{daemon}.pid")))
        .arg("-f")
        .arg(config);
    if daemon == "bfdd" {
        command.arg("--bfdctl").arg(place.path("bfdd.sock"));
    }
    Ok(command)
}

fn vtysh(place: &Place) -> Command {
    let mut command = Command::new("vtysh");
    let directory: &Path = &place.directory;
    command.arg("--vty_socket").arg(directory);
    command.arg("--config_dir").arg(directory);
    command
}

/// Zebra first: the others tell it what they have and learn interfaces from it.
const DAEMONS: [&str; 4] = ["zebra", "staticd", "bfdd", "bgpd"];
/// Where Debian has them.
const FOLDER: &str = "/usr/lib/frr";
/// Becomes the daemon that `$2` and on name; `exec` keeps the process.
const PREPARE: &str =
    "mount --bind \"$0\" /etc/group && mount --bind \"$1\" /var/tmp && shift && exec \"$@\"";
