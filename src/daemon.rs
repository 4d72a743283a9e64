//! The commands that run until they are told to stop: a runtime, and the signals.

use std::io;
use std::process::ExitCode;

use ironlb_sys::memory;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use crate::standalone;

/// Runs the controller until SIGTERM or SIGINT.
pub(crate) fn controller(args: ironlb_controller::Args) -> ExitCode {
    memory::keep_little();
    run(Builder::new_multi_thread().enable_all().build(), |stop| {
        ironlb_controller::run(args, stop)
    })
}

/// Runs the speaker until SIGTERM or SIGINT.
pub(crate) fn speaker(args: ironlb_speaker::kubernetes::Args) -> ExitCode {
    memory::keep_little();
    run(Builder::new_current_thread().enable_all().build(), |stop| {
        ironlb_speaker::kubernetes::run(args, stop)
    })
}

/// Runs both in one process, from files, until SIGTERM or SIGINT.
pub(crate) fn standalone(args: standalone::Args) -> ExitCode {
    memory::keep_little();
    run(Builder::new_current_thread().enable_all().build(), |stop| {
        standalone::run(args, stop)
    })
}

fn run<F>(runtime: io::Result<Runtime>, daemon: impl FnOnce(Stop) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let stop = runtime.block_on(async { stop() })?;
        runtime.block_on(daemon(Box::pin(stop)))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

type Stop = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Completes at the first SIGTERM or SIGINT.
fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{name}: stopping");
    })
}
