//! Processor time of processes.

use std::{fs, time::Duration};

/// What this process and every process whose parent is `postmaster` have used so far.
pub(crate) fn used(postmaster: u32) -> Duration {
    of_children(postmaster) + of(std::process::id())
}

/// What a process has used so far.
pub(crate) fn of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    in_time(stat.and_then(|stat| ticks(&stat)).map_or(0, |(_, ticks)| ticks))
}

/// What every process has used so far whose parent is this one.
pub(crate) fn of_children(parent: u32) -> Duration {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    in_time(stats.filter_map(|stat| ticks(&stat)).filter(|(of, _)| *of == parent).map(|(_, ticks)| ticks).sum())
}

fn in_time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * MILLIS_PER_TICK)
}

/// Linux tells processor time in hundredths of a second (`USER_HZ`).
const MILLIS_PER_TICK: u64 = 10;

/// The parent of a process and the ticks that it used, from its `/proc/<pid>/stat`.
fn ticks(stat: &str) -> Option<(u32, u64)> {
    // The name in brackets may hold anything.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}
