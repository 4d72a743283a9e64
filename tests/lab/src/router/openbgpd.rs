use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::{Place, Software, program};
use crate::{Error, Process, Result};

/// OpenBGPD: bgpd, asked through bgpctl.
///
/// Questions are what one types behind `bgpctl`; those that show something are answered in JSON by
/// [`Router::show`](super::Router::show). Configuration is a whole file, to which the control socket is added. It replaces the one
/// there is.
///
/// Two of its three processes become another user in that user's home, which they make their root directory; Debian's user has a
/// home that only its service makes, so they are shown one of ours. They end with the first one.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenBgpd;

impl Software for OpenBgpd {
    fn name(&self) -> &'static str {
        "OpenBGPD"
    }

    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>> {
        let home = place.path("home");
        fs::create_dir(&home).map_err(|source| Error::File {
            path: home.clone(),
            source,
        })?;
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", PREPARE])
            .arg(place.path("passwd"))
            .arg(home)
            .arg(program("bgpd", &["/usr/sbin"], "openbgpd")?)
            .args(["-d", "-v", "-f"])
            .arg(write(place, config)?);
        let process = place.spawn("bgpd", command)?;
        process.wait_until("OpenBGPD answers", super::START, || {
            self.ask(place, "show summary")
        })?;
        Ok(vec![process])
    }

    fn ask(&self, place: &Place, question: &str) -> Result<String> {
        ask(place, &[], question)
    }

    fn show(&self, place: &Place, question: &str) -> Result<serde_json::Value> {
        let answer = ask(place, &["-j"], question)?;
        serde_json::from_str(&answer).map_err(|_| place.refusal(question, &answer))
    }

    fn configure(&self, place: &Place, config: &str) -> Result<()> {
        write(place, config)?;
        self.ask(place, "reload").map(|_| ())
    }
}

fn ask(place: &Place, options: &[&str], question: &str) -> Result<String> {
    let mut command = Command::new(program("bgpctl", &["/usr/sbin"], "openbgpd")?);
    command.arg("-s").arg(place.path(SOCKET)).args(options);
    place.client(question, command.args(question.split_whitespace()))
}

/// A file that others may read is refused: there may be passwords in it.
fn write(place: &Place, config: &str) -> Result<std::path::PathBuf> {
    let socket = place.path(SOCKET);
    let path = place.write(
        CONFIG,
        &format!("socket \"{}\"\n{config}", socket.display()),
    )?;
    let secret = fs::set_permissions(&path, Permissions::from_mode(0o600));
    secret.map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

const CONFIG: &str = "bgpd.conf";
const SOCKET: &str = "bgpd.sock";
/// Becomes the daemon that `$2` and on name, whose user has the home `$1`; `exec` keeps the process.
const PREPARE: &str = "sed \"s#^\\(_openbgpd:.*:\\)/[^:]*:#\\1$1:#\" /etc/passwd >\"$0\" && mount --bind \"$0\" /etc/passwd && \
                       shift && exec \"$@\"";
