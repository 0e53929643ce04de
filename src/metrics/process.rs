//! What the process takes of the machine, under the names that every Prometheus client uses.

use std::fmt::Write as _;
use std::fs;

use rustix::process::{Resource, getrlimit};

/// Lines in the OpenMetrics format. What the system does not tell is left out.
pub(super) fn text() -> String {
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let suffix = if kind == "counter" { "_total" } else { "" };
            // Writing to a String cannot fail.
            let _written =
                writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name}{suffix} {value}");
        }
    };
    metric("process_cpu_seconds", "counter", "CPU time of the process", cpu_seconds());
    metric("process_resident_memory_bytes", "gauge", "Memory of the process", resident_bytes());
    let help = "When the process started, in seconds since 1970";
    metric("process_start_time_seconds", "gauge", help, start_seconds());
    metric("process_open_fds", "gauge", "Open file descriptors", open_descriptors());
    #[allow(clippy::cast_precision_loss)] // no machine has 2^52 descriptors
    let limit = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
    metric("process_max_fds", "gauge", "The most file descriptors there may be", limit);
    text
}

/// User and system time: fields 14 and 15 of `proc_pid_stat(5)`.
fn cpu_seconds() -> Option<f64> {
    Some(stat_seconds(14)? + stat_seconds(15)?)
}

/// Field 22 of `proc_pid_stat(5)`, counted from the boot, whose time is the field `btime` of `proc_stat(5)`.
fn start_seconds() -> Option<f64> {
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let boot = machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<f64>().ok()?;
    Some(boot + stat_seconds(22)?)
}

/// A field of `proc_pid_stat(5)` that is told in clock ticks; counted after the name, field 2, which may hold anything.
fn stat_seconds(field: usize) -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().nth(field - 3)?.parse::<f64>().ok()?;
    #[allow(clippy::cast_precision_loss)] // it is 100
    Some(ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// `proc_pid_status(5)`, in units of 1024 bytes.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}

/// Without the one that the counting takes.
fn open_descriptors() -> Option<f64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    u32::try_from(open).ok().map(|open| f64::from(open) - 1.0)
}
