//! What the sprite's user has used.

use super::clock;
use crate::cgroup::Figures;
use crate::process::tree;
use crate::session::registry::Sessions;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use sprites_api::agent::Counters;

/// Counters now. With a cgroup they cover all that sessions ever started; without, what can be seen in the process table.
pub(crate) fn read(sessions: &Sessions) -> Counters {
    let all = sessions.all();
    let figures = match sessions.cgroup() {
        Some(cgroup) => cgroup.figures(),
        None => from_processes(&all.iter().map(|session| session.pid).collect::<Vec<_>>()),
    };
    let (read_bytes, written_bytes) = disk();
    Counters {
        boot: boot(),
        cpu_usec: figures.cpu_usec,
        memory_bytes: figures.memory_bytes,
        processes: figures.processes,
        read_bytes,
        written_bytes,
        uptime_ms: clock::uptime_ms(),
        attached_sessions: all.iter().filter(|session| session.client_count() > 0).count() as u32,
        session_idle_ms: all
            .iter()
            .map(|session| session.activity.idle())
            .min()
            .map(|idle| idle.as_millis().try_into().unwrap_or(u64::MAX)),
    }
}

/// Bytes read from the disk and written to it since boot, as the kernel counts sectors; nothing where there is no such disk.
fn disk() -> (u64, u64) {
    let text = std::fs::read_to_string("/sys/block/vda/stat").unwrap_or_default();
    let fields: Vec<u64> = text.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let bytes = |place: usize| fields.get(place).map_or(0, |sectors| sectors.saturating_mul(512));
    (bytes(2), bytes(6))
}

/// The beginning of the kernel's name for this boot; it stays the same for as long as its counters do.
fn boot() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

fn from_processes(leaders: &[i32]) -> Figures {
    let positive = |name, otherwise| match sysconf(name) {
        Ok(Some(value)) if value > 0 => value as u64,
        _ => otherwise,
    };
    let ticks_per_second = positive(SysconfVar::CLK_TCK, 100);
    let page = positive(SysconfVar::PAGE_SIZE, 4096);
    let live = tree::of_sessions(&tree::all(), leaders);
    let ended = getrusage(UsageWho::RUSAGE_CHILDREN).map_or(0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()).max(0)
    });
    Figures {
        cpu_usec: ended as u64 + live.iter().map(|one| one.ticks).sum::<u64>() * 1_000_000 / ticks_per_second,
        memory_bytes: live.iter().map(|one| one.pages).sum::<u64>() * page,
        processes: live.len() as u64,
    }
}
