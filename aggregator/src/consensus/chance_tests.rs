//! Drivers under chance: everything that may happen, in any order, and what must hold all the same.
//! The stage watches: one leader a term, equal entries and memberships everywhere, reads that have
//! seen what was committed before. A failure names its seed.

use super::Role;
use super::stage::Stage;

/// Five nodes; two of them are no members at first.
const NODES: u64 = 5;

/// Seeds that once found something: a snapshot offered for ever to a replica that had as much; the
/// only voter's term that its learner knew and it had forgotten.
const FOUND: [u64; 2] = [2777, 4317];

/// splitmix64: small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn node(&mut self) -> u64 {
        1 + self.draw(NODES)
    }
}

fn play(seed: u64, steps: u64) -> Stage {
    let mut chance = Chance(seed);
    let mut stage = Stage::new();
    (4..=NODES).for_each(|id| stage.run(&format!("start {id}")));
    for step in 0..steps {
        act(&mut stage, &mut chance, step);
    }
    stage
}

fn act(stage: &mut Stage, chance: &mut Chance, step: u64) {
    let (id, other) = (chance.node(), chance.node());
    let is_up = stage.up().contains(&id);
    match chance.draw(100) {
        0 if is_up => stage.run(&format!("crash {id}")),
        0..4 if !is_up => stage.run(&format!("start {id}")),
        1 => stage.run(&format!("cut {id} {other}")),
        2..4 => stage.run("heal"),
        4..40 => carry(stage, chance),
        40..60 => drop(stage.flush(id)),
        _ if !is_up => {}
        60..80 => stage.run(&format!("tick {id} {}", 1 + chance.draw(4))),
        80..88 => stage.run(&format!("propose {id} entry-{step}")),
        88..90 => stage.run(&change(chance, id)),
        90..92 => stage.run(&format!("snapshot {id}")),
        92..94 => let_go(stage, chance, id),
        94..96 => stage.run(&format!("transfer {id} {other}")),
        96 => stage.run(&format!("read {id} {step}")),
        97 => quicken(stage, id),
        98 => drop(stage.node(id).slow_install.get_or_insert(None)),
        _ => fetch(stage, id),
    }
}

/// Any message that is under way: delivered, lost, or delivered twice.
fn carry(stage: &mut Stage, chance: &mut Chance) {
    let waiting = stage.messages.len() as u64;
    if waiting == 0 {
        return;
    }
    // Mostly in order.
    let at = if chance.draw(4) == 0 { chance.draw(waiting) as usize } else { 0 };
    let message = stage.messages.remove(at).unwrap();
    match chance.draw(30) {
        0 => {}
        1 => {
            stage.deliver(message.clone());
            stage.deliver(message);
        }
        _ => stage.deliver(message),
    }
}

fn change(chance: &mut Chance, id: u64) -> String {
    let mut words = format!("change {id}");
    for _ in 0..1 + chance.draw(2) {
        let part = ["v", "v", "l", "r"][chance.draw(4) as usize];
        words += &format!(" {part}{}", chance.node());
    }
    words + if chance.draw(5) == 0 { " no" } else { "" }
}

fn let_go(stage: &mut Stage, chance: &mut Chance, id: u64) {
    let applied = stage.driver(id).status().applied;
    let index = applied.saturating_sub(chance.draw(5));
    if index > 0 {
        stage.run(&format!("compact {id} {index}"));
    }
}

fn fetch(stage: &mut Stage, id: u64) {
    if stage.node(id).offer.is_some() {
        stage.run(&format!("fetch {id}"));
    }
}

fn quicken(stage: &mut Stage, id: u64) {
    match stage.node(id).slow_install {
        Some(Some(_)) => stage.run(&format!("quick-state {id}")),
        _ => stage.node(id).slow_install = None,
    }
}

/// Everything works from here on: what was begun must end.
fn heal(stage: &mut Stage, seed: u64) {
    stage.run("heal");
    for id in 1..=NODES {
        if !stage.up().contains(&id) {
            stage.run(&format!("start {id}"));
        }
        quicken(stage, id);
    }
    for round in 0..600 {
        for id in 1..=NODES {
            stage.run(&format!("tick {id} 1"));
            stage.run("settle");
            fetch(stage, id);
            if std::mem::take(&mut stage.node(id).wants) {
                stage.run(&format!("snapshot {id}"));
            }
        }
        let leader = (1..=NODES).find(|id| stage.driver(*id).status().role == Role::Leader);
        if let Some(leader) = leader
            && round % 20 == 0
        {
            stage.run(&format!("propose {leader} healed-{round}"));
        }
    }
    let leads = |id: &u64| stage.driver(*id).status().role == Role::Leader;
    let leader = (1..=NODES).find(leads).unwrap_or_else(|| panic!("seed {seed}: nobody leads"));
    let (members, commit) = {
        let driver = stage.driver(leader);
        (driver.membership().members(), driver.status().commit)
    };
    for id in members {
        let applied = stage.driver(id).status().applied;
        assert_eq!(applied, commit, "seed {seed}: n{id} of those whom n{leader} leads");
    }
}

#[test]
fn whatever_happens_the_group_agrees_and_goes_on() {
    let seeds = std::env::var("SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let first = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in (first..first + seeds).chain(FOUND) {
        let run = move || heal(&mut play(seed, 3_000), seed);
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("SEED={seed} SEEDS=1 plays it again");
            std::panic::resume_unwind(panic);
        }
    }
}
