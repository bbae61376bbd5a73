//! What goes wrong.

use proofmark_aggregator::consensus::driver::{Message, MessageType};

use super::world::{Event, World};

/// Does one harmful thing, or undoes the harm.
pub(super) fn strike(world: &mut World) {
    let nodes = world.replicas.len();
    let node = world.rng.index(nodes);
    match world.rng.between(0, 11) {
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
        8 | 9 => rush(world),
        _ => world.network.heal(),
    }
}

/// All come back from a power cut at once, and some of their clocks run away: several become
/// candidates of the same term.
fn rush(world: &mut World) {
    for node in 0..world.replicas.len() {
        crash_for(world, node, 10);
        let ticks = if world.rng.chance_permille(650) { 20 } else { 0 };
        (0..ticks).for_each(|_| world.plan(11, Event::Tick { node, again: false }));
    }
    world.faults.rushes += 1;
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

/// The moment that hurts most: a vote has left its node, and another candidate of the same term is
/// about to ask it. The voter fails for an instant, and the first candidate cannot warn the second:
/// what the voter promised must be on its disk. Chance alone would hardly ever find this.
pub(super) fn strike_voter(world: &mut World, vote: &Message) {
    let votes = vote.get_msg_type() == MessageType::MsgRequestVoteResponse && !vote.reject;
    if !votes {
        return;
    }
    let asks = |m: &Message| {
        let kind = m.get_msg_type() == MessageType::MsgRequestVote;
        kind && m.to == vote.from && m.from != vote.to && m.term == vote.term
    };
    if let Some(other) = world.find_message(asks).map(|message| message.from) {
        world.network.cut(vote.to, other);
        crash_for(world, usize::try_from(vote.from - 1).expect("a node"), 0);
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
