//! What goes wrong.

use proofmark_aggregator::consensus::driver::{Message, MessageType};

use super::disk::{Class, Disk};
use super::network::Place;
use super::rng::Rng;
use super::world::{End, Event, World};

/// Does one harmful thing, or undoes the harm.
pub(super) fn strike(world: &mut World) -> Result<(), String> {
    let node = world.rng.index(world.nodes.len());
    let agent = world.rng.index(world.agents.len());
    match world.rng.between(0, 31) {
        0 | 1 => crash(world, node),
        2 => (0..world.nodes.len()).for_each(|node| crash(world, node)),
        3 => crash_leader(world),
        4 | 5 => crash_agent(world, agent),
        6 | 7 | 8 | 28 | 29 | 30 => arm_node(world, node),
        9 | 10 | 31 => arm_agent(world, agent),
        11 => isolate(world, node),
        12 => cut_one_way(world, node),
        13 => cut_agent(world, agent),
        14 | 15 => world.network.set_weather(&mut world.rng),
        16 | 17 => rush(world),
        18 => jump_node_clock(world, node),
        19 => jump_agent_clock(world, agent),
        20 => pause(world, node),
        21 => slow_disk(world, node),
        22 => world.change_specs(),
        23 => hand_over(world),
        24 => world.rot(),
        _ => heal_links(world),
    }
    Ok(())
}

fn heal_links(world: &mut World) {
    world.network.heal();
    world.say(|| "the network is whole again".to_owned());
}

/// Power off or process killed, and on again after a while.
fn crash(world: &mut World, node: usize) {
    if world.nodes[node].replica.is_up() {
        let off_ms = world.rng.between(50, 4_000);
        let end = any_end(&mut world.rng);
        world.crash_node(node, end, off_ms);
    }
}

fn any_end(rng: &mut Rng) -> End {
    if rng.chance_permille(600) { End::PowerCut } else { End::Killed }
}

fn crash_leader(world: &mut World) {
    let leader = (0..world.nodes.len()).find(|node| world.nodes[*node].replica.leads());
    leader.into_iter().for_each(|node| crash(world, node));
}

fn crash_agent(world: &mut World, agent: usize) {
    if world.agents[agent].up.is_some() {
        let off_ms = world.rng.between(50, 5_000);
        let end = any_end(&mut world.rng);
        world.crash_agent(agent, end, off_ms);
    }
}

/// A fault waits at one of the places where this disk was written so far: rare ones as often as
/// frequent ones.
fn arm(disk: &Disk, rng: &mut Rng) {
    let sites = disk.visited();
    if sites.is_empty() {
        return;
    }
    let site = sites[rng.index(sites.len())];
    let faults = site.op.faults();
    disk.arm(site, faults[rng.index(faults.len())], rng);
}

fn arm_node(world: &mut World, node: usize) {
    if world.nodes[node].replica.is_up() {
        let disk = world.nodes[node].replica.disk.clone();
        (0..2).for_each(|_| arm(&disk, &mut world.rng));
    }
}

fn arm_agent(world: &mut World, agent: usize) {
    let disk = world.agents[agent].disk.clone();
    arm(&disk, &mut world.rng);
}

/// Nothing goes between this node and the others; agents still see what it does.
fn isolate(world: &mut World, node: usize) {
    for other in (0..world.nodes.len()).filter(|other| *other != node) {
        world.network.cut_both(Place::Node(node), Place::Node(other));
    }
    world.faults.isolations += 1;
    world.say(|| format!("node {} is cut off from the others", node + 1));
}

fn cut_one_way(world: &mut World, node: usize) {
    let nodes = world.nodes.len();
    let other = (node + 1 + world.rng.index(nodes - 1)) % nodes;
    world.network.cut(Place::Node(node), Place::Node(other));
    world.faults.one_way_cuts += 1;
    world.say(|| format!("nothing goes from node {} to node {}", node + 1, other + 1));
}

fn cut_agent(world: &mut World, agent: usize) {
    for node in 0..world.nodes.len() {
        if world.rng.chance_permille(700) {
            world.network.cut_both(Place::Agent(agent), Place::Node(node));
        }
    }
    world.faults.agent_cuts += 1;
    world.say(|| format!("agent {} is cut off", agent + 1));
}

/// All come back from a power cut at once, and some of their clocks run away: several become
/// candidates of the same term.
fn rush(world: &mut World) {
    for node in 0..world.nodes.len() {
        if world.nodes[node].replica.is_up() {
            world.crash_node(node, End::PowerCut, 10);
        }
        let ticks = if world.rng.chance_permille(650) { 20 } else { 0 };
        (0..ticks).for_each(|_| world.plan(11, Event::Tick { node, again: false }));
    }
    world.faults.rushes += 1;
}

fn jump_node_clock(world: &mut World, node: usize) {
    let jump_ms = jump_ms(&mut world.rng);
    world.nodes[node].skew.offset_ms = jump_ms;
    world.faults.clock_jumps += 1;
    world.say(|| format!("the clock of node {} is {jump_ms} ms off", node + 1));
}

fn jump_agent_clock(world: &mut World, agent: usize) {
    let jump_ms = jump_ms(&mut world.rng);
    world.agents[agent].skew.offset_ms = jump_ms;
    world.faults.clock_jumps += 1;
    world.say(|| format!("the clock of agent {} is {jump_ms} ms off", agent + 1));
}

fn jump_ms(rng: &mut Rng) -> i64 {
    let reach = [200, 2_000, 20_000][rng.index(3)];
    i64::try_from(rng.between(0, 2 * reach)).expect("small") - i64::try_from(reach).expect("small")
}

fn pause(world: &mut World, node: usize) {
    let for_ms = world.rng.between(200, 4_000);
    world.nodes[node].paused_until_ms = world.now_ms + for_ms;
    world.faults.pauses += 1;
    world.say(|| format!("node {} is stopped for {for_ms} ms", node + 1));
}

fn slow_disk(world: &mut World, node: usize) {
    let slow_ms = [0, 100, 600][world.rng.index(3)];
    world.nodes[node].slow_ms = slow_ms;
    world.nodes[node].replica.disk.note_slow(Class::RaftLog);
    world.faults.slow_disks += 1;
    world.say(|| format!("a flush of node {} takes {slow_ms} ms", node + 1));
}

/// Leadership goes to whoever has confirmed the most.
pub(super) fn hand_over(world: &mut World) {
    let leader = (0..world.nodes.len()).find(|node| world.nodes[*node].replica.leads());
    if let Some(up) = leader.and_then(|node| world.nodes[node].replica.up.as_mut()) {
        let to = up.driver.hand_over();
        world.faults.transfers += 1;
        world.say(|| format!("the leader hands over to node {}", to.unwrap_or(0)));
    }
}

/// The moment that hurts most: a vote has left its node, and another candidate of the same term is
/// about to ask it. The voter fails for an instant, and the first candidate cannot warn the second:
/// what the voter promised must be on its disk. Chance alone would hardly ever find this.
pub(super) fn strike_voter(world: &mut World, vote: &Message) -> Result<(), String> {
    let votes = vote.get_msg_type() == MessageType::MsgRequestVoteResponse && !vote.reject;
    if !votes {
        return Ok(());
    }
    let asks = |event: &Event| match event {
        Event::Deliver { message: m }
            if m.get_msg_type() == MessageType::MsgRequestVote
                && m.to == vote.from
                && m.from != vote.to
                && m.term == vote.term =>
        {
            Some(m.from)
        }
        _ => None,
    };
    if let Some(other) = world.find_event(asks) {
        let node = |id: u64| usize::try_from(id - 1).expect("a node");
        world.network.cut(Place::Node(node(vote.to)), Place::Node(node(other)));
        if world.nodes[node(vote.from)].replica.is_up() {
            world.crash_node(node(vote.from), End::PowerCut, 0);
        }
    }
    Ok(())
}
