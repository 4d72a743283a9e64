use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use super::{Place, Software, program};
use crate::{Error, Process, Result};

/// ExaBGP, which has no table: it tells a helper what it has received.
///
/// There is one question, `received`: all that the helper was told, in order, an array of ExaBGP's messages in JSON for
/// [`Router::show`](super::Router::show). Configuration is a whole file, to which the helper, the process `seen`, is added; name it in
/// `api { processes [ seen ]; }` of a neighbour. It does not change while it runs;
/// [`Router::configure`](super::Router::configure) takes commands of ExaBGP's API instead, each a line.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExaBgp;

impl Software for ExaBgp {
    fn name(&self) -> &'static str {
        "ExaBGP"
    }

    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>> {
        let seen = place.write(RECEIVED, "")?;
        let commands = place.write(COMMANDS, "")?;
        let helper = HELPER.replace("SEEN", &seen.to_string_lossy());
        let helper = helper.replace("COMMANDS", &commands.to_string_lossy());
        let helper = place.write("seen.sh", &helper)?;
        let executable = fs::set_permissions(&helper, Permissions::from_mode(0o700));
        executable.map_err(|source| Error::File {
            path: helper.clone(),
            source,
        })?;
        let process = format!(
            "process seen {{ run {}; encoder json; }}\n",
            helper.display()
        );
        let file = place.write("exabgp.conf", &format!("{process}{config}"))?;
        let mut command = Command::new(program("exabgp", &[], "exabgp")?);
        command.envs(SETTINGS).arg(file);
        let process = place.spawn("exabgp", command)?;
        process.wait_for_line("loaded new configuration successfully", super::START)?;
        Ok(vec![process])
    }

    fn ask(&self, place: &Place, question: &str) -> Result<String> {
        if question != "received" {
            return Err(place.refusal(question, "there is one question, received"));
        }
        let path = place.path(RECEIVED);
        fs::read_to_string(&path).map_err(|source| Error::File { path, source })
    }

    fn show(&self, place: &Place, question: &str) -> Result<Value> {
        let answer = self.ask(place, question)?;
        // The last line may be on its way. Octets of a NOTIFICATION are there as they are, which JSON does not allow, and answers to
        // commands are not JSON.
        let whole = answer.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let clean = |line: &str| line.replace(|letter: char| letter.is_control(), " ");
        let lines = whole.lines().filter(|line| line.starts_with('{'));
        let messages = lines.map(|line| serde_json::from_str(&clean(line)));
        let messages: std::result::Result<_, _> = messages.collect();
        messages
            .map(Value::Array)
            .map_err(|_| place.refusal(question, &answer))
    }

    fn configure(&self, place: &Place, config: &str) -> Result<()> {
        let path = place.path(COMMANDS);
        let appended = OpenOptions::new().append(true).open(&path);
        appended
            .and_then(|mut file| file.write_all(config.as_bytes()))
            .map_err(|source| Error::File { path, source })
    }
}

const RECEIVED: &str = "received.json";
const COMMANDS: &str = "commands";
/// It ends with ExaBGP, whose end of the pipe closes.
const HELPER: &str = "#!/bin/sh\ntail -f 'COMMANDS' --pid $$ &\n\
                      while read -r line; do printf '%s\\n' \"$line\" >>'SEEN'; done\n";
const SETTINGS: [(&str, &str); 6] = [
    ("exabgp.daemon.user", "root"),
    ("exabgp.daemon.drop", "false"),
    ("exabgp.log.destination", "stdout"),
    ("exabgp.log.all", "true"),
    ("exabgp.log.level", "DEBUG"),
    ("exabgp.api.cli", "false"),
];
