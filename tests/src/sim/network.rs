//! The virtual network: delay, loss, duplication, reordering, and links cut in one direction.

use std::collections::BTreeSet;

use super::rng::Rng;

/// What the links do at present.
#[derive(Default)]
pub(super) struct Network {
    /// Directed: (from, to). Node 0 stands for all clients.
    cut: BTreeSet<(u64, u64)>,
    loss_permille: u64,
    duplication_permille: u64,
    late_permille: u64,
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
}

/// The clients' address.
pub(super) const CLIENTS: u64 = 0;

impl Network {
    /// When copies of something sent now arrive, as delays in milliseconds; none when it is lost.
    pub(super) fn delays_ms(&mut self, from: u64, to: u64, rng: &mut Rng) -> Vec<u64> {
        if self.cut.contains(&(from, to)) || rng.chance_permille(self.loss_permille) {
            self.dropped += 1;
            return Vec::new();
        }
        let mut delays = vec![self.delay_ms(rng)];
        if rng.chance_permille(self.duplication_permille) {
            self.duplicated += 1;
            delays.push(self.delay_ms(rng));
        }
        delays
    }

    pub(super) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Nothing comes in or goes out, except to clients: they still see what a cut-off leader does.
    pub(super) fn isolate(&mut self, node_id: u64, nodes: u64) {
        for other in (1..=nodes).filter(|other| *other != node_id) {
            self.cut.insert((node_id, other));
            self.cut.insert((other, node_id));
        }
    }

    pub(super) fn set_weather(&mut self, rng: &mut Rng) {
        self.loss_permille = [0, 0, 20, 100, 300][rng.index(5)];
        self.duplication_permille = [0, 10, 50][rng.index(3)];
        self.late_permille = [10, 50, 200][rng.index(3)];
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.loss_permille = 0;
        self.duplication_permille = 0;
        self.late_permille = 0;
    }

    fn delay_ms(&self, rng: &mut Rng) -> u64 {
        match rng.chance_permille(self.late_permille) {
            true => rng.between(20, 400), // overtaken by many
            false => rng.between(1, 15),
        }
    }
}
