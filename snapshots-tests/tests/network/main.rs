//! What a sprite reaches outside, and what it does not: with a real sprite, in a network namespace with a small world of its own.

mod names;
mod programs;
mod rules;

use snapshots_tests::world::World;

#[test]
fn policies_hold_and_programs_work() {
    let Some(world) = World::new() else { return };
    rules::hold(&world);
    programs::work(&world);
}
