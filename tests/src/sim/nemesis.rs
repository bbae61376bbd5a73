//! What goes wrong.

use super::world::{Event, World};

/// Does one harmful thing, or undoes the harm.
pub(super) fn strike(world: &mut World) {
    let nodes = world.replicas.len();
    let node = world.rng.index(nodes);
    match world.rng.between(0, 9) {
        0..=2 => crash(world, node),
        3 => (0..nodes).for_each(|node| crash(world, node)),
        4 => crash_leader(world),
        5 => {
            world.network.isolate(node as u64 + 1, nodes as u64);
            world.faults.isolations += 1;
        }
        6 => {
            let other = (node + 1 + world.rng.index(nodes - 1)) % nodes;
            world.network.cut(node as u64 + 1, other as u64 + 1);
            world.faults.one_way_cuts += 1;
        }
        7 => world.network.set_weather(&mut world.rng),
        _ => world.network.heal(),
    }
}

fn crash_leader(world: &mut World) {
    let leader = (0..world.replicas.len()).find(|node| world.replicas[*node].leads());
    leader.into_iter().for_each(|node| crash(world, node));
}

/// Power off, and on again after a while.
fn crash(world: &mut World, node: usize) {
    let replica = &mut world.replicas[node];
    if replica.is_up() {
        replica.crash();
        replica.disk.crash(&mut world.rng);
        world.faults.crashes += 1;
        let in_ms = world.rng.between(50, 4_000);
        world.plan(in_ms, Event::Restart { node });
    }
}
