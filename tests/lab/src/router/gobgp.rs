use std::process::Command;

use super::{Place, Software, program};
use crate::{Process, Result};

/// GoBGP: gobgpd, asked through gobgp.
///
/// Questions are what one types behind `gobgp`; all are answered in JSON by [`Router::show`](super::Router::show). It installs no
/// routes into the kernel. Configuration is a whole file of TOML; it is read again when it changes, and replaces the one there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoBgp;

impl Software for GoBgp {
    fn name(&self) -> &'static str {
        "GoBGP"
    }

    fn start(&self, place: &Place, config: &str) -> Result<Vec<Process>> {
        let file = place.write(CONFIG, config)?;
        let mut command = Command::new(program("gobgpd", &[], "gobgpd")?);
        command.arg("-f").arg(file).args(["-l", "debug", "-p"]);
        command.args(["--api-hosts", "127.0.0.1:50051"]);
        let process = place.spawn("gobgpd", command)?;
        // It answers before it has read the configuration.
        process.wait_until("GoBGP answers", super::START, || {
            let answer = self
                .ask(place, "global")
                .map_err(|error| error.to_string())?;
            let configured = answer.contains("Router-ID");
            configured.then_some(()).ok_or(answer)
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
        place.write(CONFIG, config)?;
        Ok(())
    }
}

fn ask(place: &Place, options: &[&str], question: &str) -> Result<String> {
    let mut command = Command::new(program("gobgp", &[], "gobgpd")?);
    command.args(options).args(question.split_whitespace());
    place.client(question, &mut command)
}

const CONFIG: &str = "gobgpd.toml";
