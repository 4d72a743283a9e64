//! How big the product is: on disk, and in memory with many Services.

use ironlb_lab::Process;

use crate::proc::{Field, PEAK, PROPORTIONAL, RESIDENT, megabytes};
use crate::product::{CONTROLLER_PORT, Product, SPEAKER_PORT, wait_until_quiet};
use crate::report::{Measurement, Report};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let product = Product::new("footprint")?;
    let bytes = std::fs::metadata(&product.binary)?.len();
    report.say(
        Measurement::new("binary, static, stripped", 1, bytes as f64 / 1e6, "MB").at_most(20.0),
    )?;
    product.create_services(0..SERVICES)?;
    let addresses = product.watch()?;
    let processes = Processes::start(&product)?;
    addresses.wait_for(SERVICES)?;
    processes.measure(report, "gave all addresses")?;
    processes.stop()?;
    // What is started again reads everything at once: the other way to get there.
    let processes = Processes::start(&product)?;
    processes.measure(report, "started with all addresses given")?;
    processes.stop()
}

struct Processes {
    controller: Process,
    speaker: Process,
}

impl Processes {
    fn start(product: &Product) -> anyhow::Result<Self> {
        let processes = Self {
            speaker: product.start_speaker()?,
            controller: product.start_controller()?,
        };
        product.wait_until_ready(&processes.controller, CONTROLLER_PORT)?;
        product.wait_until_ready(&processes.speaker, SPEAKER_PORT)?;
        Ok(processes)
    }

    fn measure(&self, report: &Report, after: &str) -> anyhow::Result<()> {
        for (name, process, goal) in [
            ("controller", &self.controller, 30.0),
            ("speaker", &self.speaker, 25.0),
        ] {
            wait_until_quiet(process)?;
            let say = |what, field: Field| -> anyhow::Result<Measurement> {
                let case = format!("{name}, {after}: {what}");
                Ok(Measurement::new(
                    case,
                    SERVICES as u64,
                    megabytes(process.id(), field)?,
                    "MB",
                ))
            };
            report.say(say("resident", RESIDENT)?.at_most(goal))?;
            report.say(say("proportional", PROPORTIONAL)?)?;
            report.say(say("peak", PEAK)?)?;
        }
        Ok(())
    }

    fn stop(self) -> anyhow::Result<()> {
        for process in [self.controller, self.speaker] {
            process.terminate(std::time::Duration::from_secs(10))?;
        }
        Ok(())
    }
}

const SERVICES: usize = 2_000;
