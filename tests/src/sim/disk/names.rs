//! The names on a disk: what programs see, and what a power cut would leave of them.

use std::collections::BTreeMap;

use crate::sim::rng::Rng;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    /// Its place among the disk's contents.
    File(usize),
}

/// Paths have `/` between parts and none in front; the root has no name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    live: BTreeMap<String, Node>,
    platter: BTreeMap<String, Node>,
    /// Changes whose directory was not synced since, oldest first.
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Link {
        path: String,
        node: Node,
    },
    Unlink {
        path: String,
    },
    /// Atomic, as POSIX has it.
    Rename {
        from: String,
        to: String,
        node: Node,
    },
}

impl Names {
    pub(super) fn get(&self, path: &str) -> Option<Node> {
        self.live.get(path).copied()
    }

    pub(super) fn has_dir(&self, dir: &str) -> bool {
        dir.is_empty() || self.get(dir) == Some(Node::Dir)
    }

    /// Last parts of the names in a directory.
    pub(super) fn list(&self, dir: &str) -> Vec<String> {
        self.below(dir).map(|path| last_part(path).to_owned()).collect()
    }

    pub(super) fn files(&self) -> impl Iterator<Item = (&String, usize)> {
        self.live.iter().filter_map(|(path, node)| match node {
            Node::Dir => None,
            Node::File(place) => Some((path, *place)),
        })
    }

    pub(super) fn link(&mut self, path: &str, node: Node) {
        self.change(Change::Link { path: path.to_owned(), node });
    }

    pub(super) fn unlink(&mut self, path: &str) {
        self.change(Change::Unlink { path: path.to_owned() });
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, node: Node) {
        self.change(Change::Rename { from: from.to_owned(), to: to.to_owned(), node });
    }

    pub(super) fn sync_dir(&mut self, dir: &str) {
        let (durable, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|one| one.dir() == dir);
        self.unsynced = rest;
        durable.iter().for_each(|change| change.apply(&mut self.platter));
    }

    pub(super) fn power_cut(&mut self, rng: &mut Rng) {
        let changes = std::mem::take(&mut self.unsynced);
        // A journal keeps them in order up to some point; other file systems do not.
        let journalled = rng.chance_permille(400);
        let kept = rng.index(changes.len() + 1);
        for (place, change) in changes.iter().enumerate() {
            if if journalled { place < kept } else { rng.chance_permille(500) } {
                change.apply(&mut self.platter);
            }
        }
        self.drop_orphans();
        self.live = self.platter.clone();
    }

    /// A file is lost with any directory above it.
    fn drop_orphans(&mut self) {
        let kept = self.platter.clone();
        self.platter.retain(|path, _| {
            path.match_indices('/').all(|(end, _)| kept.get(&path[..end]) == Some(&Node::Dir))
        });
    }

    fn below<'a>(&'a self, dir: &'a str) -> impl Iterator<Item = &'a String> {
        let from = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside = self.live.range(from.clone()..).map(|(path, _)| path);
        inside
            .take_while(move |path| path.starts_with(&from))
            .filter(move |path| parent(path) == dir)
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.unsynced.push(change);
    }
}

impl Change {
    /// The directory whose sync makes it durable.
    fn dir(&self) -> &str {
        match self {
            Change::Link { path, .. } | Change::Unlink { path } => parent(path),
            Change::Rename { to, .. } => parent(to),
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Change::Link { path, node } => drop(names.insert(path.clone(), *node)),
            Change::Unlink { path } => drop(names.remove(path)),
            Change::Rename { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn last_part(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_durable_once_its_directory_is_synced() {
        let survives = |synced: &str, seed| {
            let mut names = Names::default();
            names.link("a", Node::Dir);
            names.sync_dir("");
            names.link("a/f", Node::File(0));
            names.sync_dir(synced);
            names.power_cut(&mut Rng::new(seed));
            names.get("a/f").is_some()
        };
        assert!((0..50).all(|seed| survives("a", seed)));
        assert!((0..50).any(|seed| survives("", seed)) && !(0..50).all(|seed| survives("", seed)));
    }

    #[test]
    fn a_file_goes_with_its_directory() {
        let mut names = Names::default();
        names.link("a", Node::Dir);
        names.link("a/f", Node::File(0));
        names.sync_dir("a");
        let lost = (0..50).any(|seed| {
            let mut names = names.clone();
            names.power_cut(&mut Rng::new(seed));
            names.get("a").is_none() && names.get("a/f").is_none()
        });
        assert!(lost);
    }
}
