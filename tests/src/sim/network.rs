//! The virtual network: delay, loss, duplication, reordering, and links cut in one direction.

use std::collections::BTreeSet;

use super::rng::Rng;

/// Who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Node(usize),
    Agent(usize),
    Operator,
}

/// What the links do at present.
#[derive(Default)]
pub(super) struct Network {
    /// Directed.
    cut: BTreeSet<(Place, Place)>,
    loss_permille: u64,
    duplication_permille: u64,
    late_permille: u64,
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) delayed: u64,
}

impl Network {
    /// When copies of a message sent now arrive, as delays in milliseconds; none when it is lost.
    pub(super) fn delays_ms(&mut self, from: Place, to: Place, rng: &mut Rng) -> Vec<u64> {
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

    /// The delay of the next bytes of a stream; None when the stream breaks with it.
    pub(super) fn stream_delay_ms(&mut self, from: Place, to: Place, rng: &mut Rng) -> Option<u64> {
        let breaks = self.cut.contains(&(from, to)) || rng.chance_permille(self.loss_permille / 5);
        self.dropped += u64::from(breaks);
        (!breaks).then(|| self.delay_ms(rng))
    }

    pub(super) fn cut(&mut self, from: Place, to: Place) {
        self.cut.insert((from, to));
    }

    pub(super) fn cut_both(&mut self, one: Place, other: Place) {
        self.cut(one, other);
        self.cut(other, one);
    }

    pub(super) fn set_weather(&mut self, rng: &mut Rng) {
        self.loss_permille = [0, 0, 20, 100, 250][rng.index(5)];
        self.duplication_permille = [0, 10, 50][rng.index(3)];
        self.late_permille = [10, 50, 200][rng.index(3)];
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.loss_permille = 0;
        self.duplication_permille = 0;
        self.late_permille = 0;
    }

    fn delay_ms(&mut self, rng: &mut Rng) -> u64 {
        match rng.chance_permille(self.late_permille) {
            true => {
                self.delayed += 1;
                rng.between(20, 400) // overtaken by many
            }
            false => rng.between(1, 12),
        }
    }
}
