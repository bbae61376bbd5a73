//! What goes wrong.

use proofmark_aggregator::consensus::driver::{Message, MessageType};

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
    let off_ms = world.rng.between(50, 4_000);
    crash_for(world, node, off_ms);
}

/// Now and then a voter fails for an instant just after its vote has left: what it promised must be
/// on its disk. Chance alone would hardly ever hit that instant.
pub(super) fn strike_voter(world: &mut World, message: &Message) {
    let votes = message.get_msg_type() == MessageType::MsgRequestVoteResponse && !message.reject;
    if votes && world.rng.chance_permille(200) {
        let node = usize::try_from(message.from - 1).expect("a node");
        let off_ms = world.rng.between(0, 5);
        crash_for(world, node, off_ms);
    }
}

fn crash_for(world: &mut World, node: usize, off_ms: u64) {
    let replica = &mut world.replicas[node];
    if replica.is_up() {
        replica.crash();
        replica.disk.crash(&mut world.rng);
        world.faults.crashes += 1;
        world.plan(off_ms, Event::Restart { node });
    }
}
