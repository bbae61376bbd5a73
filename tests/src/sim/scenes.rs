//! Short stories of one cluster, for people: nothing is left to chance but how long things take.
//!
//! Each scene is a world without a nemesis in which one thing is done at its time.
//! `cargo xtask sim --scene NAME` tells it.

use super::trace::Trace;
use super::world::{End, Phase, World};

/// One scene.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// As on the command line.
    pub name: &'static str,
    /// What a reader is to look for.
    pub about: &'static str,
    play: fn(&mut World) -> Result<(), String>,
}

/// All of them.
pub const SCENES: [Scene; 5] = [
    Scene {
        name: "election",
        about: "Three nodes choose a leader; it loses power; the others choose another; it comes \
                back and follows.",
        play: election,
    },
    Scene {
        name: "forwarding",
        about: "An agent speaks to whichever node it reached; a follower sends its batch on to the \
                leader and hands the answer back.",
        play: forwarding,
    },
    Scene {
        name: "snapshot",
        about: "One node is away while the others let go of their logs; when it comes back it \
                fetches a snapshot and starts over from it.",
        play: snapshot,
    },
    Scene {
        name: "transfer",
        about: "A leader hands over to another node without an election timeout.",
        play: transfer,
    },
    Scene {
        name: "upgrade",
        about: "Once every node says that it knows the newer commands, the leader raises the \
                version; each node applies that entry, and from there on keeps the list of members.",
        play: upgrade,
    },
];

/// Seeds with three nodes and one agent are searched among these.
const SEEDS: std::ops::Range<u64> = 1..1_000;

impl Scene {
    /// The transcript, after a line that says what it is about.
    ///
    /// # Errors
    /// Something did not hold.
    pub fn transcript(&self) -> Result<String, String> {
        let mut world = small_world()?;
        (self.play)(&mut world)?;
        let (_, story) = world.trace.into_parts();
        let (name, about) = (self.name, self.about);
        let again =
            format!("Told by `cargo xtask sim --scene {name}`: seconds, then what happened.");
        Ok(format!("{about}\n\n{again}\n\n{}\n", story.join("\n")))
    }
}

pub(super) fn small_world() -> Result<World, String> {
    for seed in SEEDS {
        let world = World::new(seed, None, Trace::new(true))?;
        if world.nodes.len() == 3 && world.agents.len() == 1 {
            let mut world = world;
            world.phase = Phase::Healing;
            world.upgrade_at_ms = u64::MAX;
            return Ok(world);
        }
    }
    Err("no seed gives three nodes and one agent".to_owned())
}

fn leader(world: &World) -> Result<usize, String> {
    let leads = |node: &usize| world.nodes[*node].replica.leads();
    (0..world.nodes.len()).find(leads).ok_or_else(|| "nobody leads".to_owned())
}

fn election(world: &mut World) -> Result<(), String> {
    world.suffer(4_000)?;
    let first = leader(world)?;
    world.crash_node(first, End::PowerCut, 2_500);
    world.suffer(8_000)
}

fn forwarding(world: &mut World) -> Result<(), String> {
    world.suffer(14_000)
}

fn snapshot(world: &mut World) -> Result<(), String> {
    world.suffer(3_000)?;
    let follower = (leader(world)? + 1) % world.nodes.len();
    world.crash_node(follower, End::Killed, 30_000);
    world.suffer(38_000)
}

fn upgrade(world: &mut World) -> Result<(), String> {
    world.upgrade_at_ms = 4_000;
    world.suffer(7_000)
}

fn transfer(world: &mut World) -> Result<(), String> {
    world.suffer(4_000)?;
    super::nemesis::hand_over(world);
    world.suffer(6_000)
}
