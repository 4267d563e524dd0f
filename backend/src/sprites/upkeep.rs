//! Checkpoints that nobody asked for: when one is due, and which of the old ones are let go.

use std::time::Duration;
use vmm_disk::Checkpoint;

/// A sprite that is used all the time gets a checkpoint after so long.
pub(super) const BUSY: Duration = Duration::from_secs(3600);
/// One that falls asleep gets none when the last is younger than this.
pub(super) const FRESH: Duration = Duration::from_secs(600);

/// Automatic checkpoints that always stay, so that the last steps can be undone.
const NEWEST: usize = 5;
/// How densely older ones are kept: until which age, one in which time. Beyond the last age none is kept.
const TIERS: [(Duration, Duration); 3] = [(DAY, HOUR), (WEEK, DAY), (MONTH, WEEK)];
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
const MONTH: Duration = Duration::from_secs(28 * 24 * 3600);

/// Microseconds since the epoch that are so long before `now`, another such number.
pub(super) fn before(now: i64, length: Duration) -> i64 {
    now.saturating_sub(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

/// The automatic checkpoints that are no longer worth their bytes, of all those of a disk. `now` is in microseconds since the epoch.
///
/// Of those that people made, none. `on` is the one the live disk stands on, which cannot go.
pub(super) fn superfluous(checkpoints: &[Checkpoint], on: Option<&str>, now: i64) -> Vec<String> {
    let (undo, usual): (Vec<&Checkpoint>, Vec<&Checkpoint>) = checkpoints
        .iter()
        .filter(|checkpoint| checkpoint.is_auto)
        .partition(|checkpoint| checkpoint.id.starts_with(vmm_disk::UNDO));
    // Each kind for itself: many restores are not to cost what was made before them.
    [usual, undo].into_iter().flat_map(|kind| superfluous_of(kind, on, now)).collect()
}

fn superfluous_of(mut automatic: Vec<&Checkpoint>, on: Option<&str>, now: i64) -> Vec<String> {
    automatic.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.create_time));
    let mut kept = None;
    let mut superfluous = Vec::new();
    for checkpoint in automatic.iter().skip(NEWEST) {
        // Spans begin at fixed times, so that what is the last of one today is so tomorrow.
        let span = TIERS
            .iter()
            .find(|(age, _)| checkpoint.create_time > before(now, *age))
            .map(|(_, span)| (*span, checkpoint.create_time.div_euclid(span.as_micros() as i64)));
        let fits = span.is_some() && span != kept;
        if fits {
            kept = span;
        } else if on != Some(&checkpoint.id) {
            superfluous.push(checkpoint.id.clone());
        }
    }
    superfluous
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: i64 = 60_000_000;
    const NOW: i64 = 1_800_000_000_000_000;

    fn auto(minutes_ago: i64) -> Checkpoint {
        let create_time = NOW - minutes_ago * MINUTES;
        Checkpoint {
            id: format!("auto-{minutes_ago}"),
            create_time,
            comment: None,
            parent: None,
            is_auto: true,
        }
    }

    #[test]
    fn the_older_the_fewer() {
        // One every ten minutes for sixty days.
        let mut checkpoints: Vec<Checkpoint> = (0..60 * 24 * 6).rev().map(|step| auto(step * 10)).collect();
        let gone = superfluous(&checkpoints, None, NOW);
        checkpoints.retain(|checkpoint| !gone.contains(&checkpoint.id));
        let count = |from: i64, to: i64| {
            let within = |checkpoint: &&Checkpoint| {
                (from..to).contains(&((NOW - checkpoint.create_time) / MINUTES / 60))
            };
            checkpoints.iter().filter(within).count()
        };
        assert!((23..=30).contains(&count(0, 24)), "{}", count(0, 24));
        assert!((5..=7).contains(&count(24, 7 * 24)), "{}", count(24, 7 * 24));
        assert!((2..=4).contains(&count(7 * 24, 28 * 24)), "{}", count(7 * 24, 28 * 24));
        assert_eq!(count(28 * 24, 1000 * 24), 0);
        // Once more changes nothing.
        assert!(superfluous(&checkpoints, None, NOW).is_empty());
    }

    #[test]
    fn many_restores_cost_nothing_that_was_made_before_them() {
        let good: Vec<Checkpoint> = [50, 40, 30].map(auto).into();
        let undo =
            (0..20).map(|minute| Checkpoint { id: format!("{}v0-{minute}", vmm_disk::UNDO), ..auto(minute) });
        let checkpoints: Vec<Checkpoint> = good.into_iter().chain(undo).collect();
        let gone = superfluous(&checkpoints, None, NOW);
        assert!(gone.len() >= 14 && gone.iter().all(|id| id.starts_with(vmm_disk::UNDO)), "{gone:?}");
    }

    #[test]
    fn what_people_made_and_what_the_disk_stands_on_stays() {
        let mut checkpoints: Vec<Checkpoint> = (0..20).map(|day| auto((100 + day) * 24 * 60)).collect();
        checkpoints[19].is_auto = false;
        let on = checkpoints[10].id.clone();
        let gone = superfluous(&checkpoints, Some(&on), NOW);
        assert_eq!(gone.len(), 20 - 1 - NEWEST - 1);
        assert!(
            !gone.contains(&on) && !gone.contains(&checkpoints[19].id) && !gone.contains(&checkpoints[0].id)
        );
    }
}
