//! What the kernel says of processes and threads, proc(5).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};

/// How long a thread of this process has been on a CPU.
pub(crate) fn thread_time(name: &str) -> anyhow::Result<Duration> {
    for task in tasks("self")? {
        if fs::read_to_string(task.join("comm"))?.trim() == name {
            return time_of(&task);
        }
    }
    bail!("the thread {name} has ended")
}

/// How long all threads of a process have been on a CPU, those that have ended left out.
pub(crate) fn process_time(id: u32) -> anyhow::Result<Duration> {
    tasks(&id.to_string())?
        .iter()
        .map(|task| time_of(task))
        .sum()
}

/// A file and a field of /proc/PID, proc_pid_status(5) and proc_pid_smaps_rollup(5).
pub(crate) type Field = (&'static str, &'static str);

pub(crate) const RESIDENT: Field = ("status", "VmRSS");
pub(crate) const PEAK: Field = ("status", "VmHWM");
/// As resident, but of a page that other processes use too, such as the program's own, only a share.
pub(crate) const PROPORTIONAL: Field = ("smaps_rollup", "Pss");

/// In millions of bytes. The kernel's `kB` are 1,024 bytes.
pub(crate) fn megabytes(id: u32, (file, field): Field) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{id}/{file}"))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let value = value.and_then(|value| value.trim().strip_suffix(" kB"));
    let kibibytes: f64 = value
        .with_context(|| format!("no {field} in {file}"))?
        .parse()?;
    Ok(kibibytes * 1_024.0 / 1e6)
}

fn tasks(process: &str) -> anyhow::Result<Vec<PathBuf>> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(tasks
        .map(|task| Ok(task?.path()))
        .collect::<std::io::Result<_>>()?)
}

fn time_of(task: &Path) -> anyhow::Result<Duration> {
    let statistics = fs::read_to_string(task.join("schedstat"))?;
    let nanoseconds = statistics.split_whitespace().next();
    let nanoseconds = nanoseconds.context("a number in schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}
