//! The disk itself, twice: as processes see it, and as a power cut leaves it.
//!
//! Blocks of 4 KiB become durable by a sync of their file; names by a sync of their directory, as
//! strictly as POSIX allows: syncing a file does not make its name durable. A sync of a file
//! that failed has lost what it was for, and the next one knows nothing of it: processes go on to
//! read from memory what never reached the disk (what Linux does since 4.13).

mod content;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use content::File;

use crate::dice::Dice;

/// Names an inode; the root is 1, as FUSE has it.
pub type Ino = u64;
pub const ROOT: Ino = 1;

/// Errors as the kernel numbers them.
pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const EEXIST: i32 = 17;
pub const ENOTDIR: i32 = 20;
pub const EISDIR: i32 = 21;
pub const ENOSPC: i32 = 28;
pub const ENOTEMPTY: i32 = 39;

pub type Answer<T> = Result<T, i32>;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Nothing.
    AllLost,
    /// A random part: blocks (some of them torn at a sector), lengths and names each by chance.
    SomeKept,
}

/// What a disk can answer while it has power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC to whatever needs a block or a name.
    Full,
    /// EIO to a sync; a file's data is lost, see the module; a directory's names wait for the next.
    SyncFails,
}

/// A power cut to come: in the middle of a change, which is then done or not, and not answered for.
#[derive(Clone, Copy, Debug)]
pub struct Doom {
    /// Changes that are still answered for.
    pub after: u64,
    /// Whether the change that is not answered for is done.
    pub is_done: bool,
}

/// What one power cut took and left of what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    pub blocks_lost: u64,
    pub blocks_kept: u64,
    pub names_lost: u64,
    pub names_kept: u64,
}

impl Losses {
    pub fn add(&mut self, other: Losses) {
        self.blocks_lost += other.blocks_lost;
        self.blocks_kept += other.blocks_kept;
        self.names_lost += other.names_lost;
        self.names_kept += other.names_kept;
    }
}

/// What is known of an inode.
pub struct Stat {
    pub is_dir: bool,
    pub len: u64,
    pub mode: u16,
}

pub struct Image {
    inodes: BTreeMap<Ino, Inode>,
    next: Ino,
    /// Changes of names since their directories were synced, oldest first.
    unsynced: Vec<NameChange>,
    powered: bool,
    doom: Option<Doom>,
    planted: Option<(Fault, String)>,
    met: u64,
}

struct Inode {
    /// As processes knew it last: faults are planted by path.
    path: String,
    mode: u16,
    kind: Kind,
}

enum Kind {
    File(File),
    Dir(Dir),
}

#[derive(Default)]
struct Dir {
    live: BTreeMap<String, Ino>,
    durable: BTreeMap<String, Ino>,
}

/// One call's effect on names: a rename is one change, whole or absent.
struct NameChange(Vec<(Ino, String, Option<Ino>)>);

impl Default for Image {
    fn default() -> Self {
        Self::new()
    }
}

impl Image {
    pub fn new() -> Image {
        let root = Inode { path: String::new(), mode: 0o755, kind: Kind::Dir(Dir::default()) };
        Image {
            inodes: BTreeMap::from([(ROOT, root)]),
            next: ROOT + 1,
            unsynced: Vec::new(),
            powered: true,
            doom: None,
            planted: None,
            met: 0,
        }
    }

    pub fn power_off(&mut self) {
        self.powered = false;
    }

    pub fn power_on(&mut self) {
        self.powered = true;
        self.doom = None;
    }

    pub fn is_powered(&self) -> bool {
        self.powered
    }

    pub fn doom(&mut self, doom: Doom) {
        self.doom = Some(doom);
    }

    /// Carries out one change of bytes, names or what is durable, as far as the power lasts.
    pub fn change<T>(&mut self, make: impl FnOnce(&mut Image) -> Answer<T>) -> Answer<T> {
        match &mut self.doom {
            Some(Doom { after: 0, is_done }) => {
                if *is_done {
                    // Done, and nobody hears of it.
                    let _ = make(self);
                }
                self.powered = false;
                Err(EIO)
            }
            Some(doom) => {
                doom.after -= 1;
                make(self)
            }
            None => make(self),
        }
    }

    pub fn plant(&mut self, fault: Fault, part: &str) {
        self.planted = Some((fault, part.to_owned()));
        self.met = 0;
    }

    pub fn heal(&mut self) -> u64 {
        self.planted = None;
        self.met
    }

    pub fn met(&self) -> u64 {
        self.met
    }

    pub fn durable_bytes(&self) -> u64 {
        let files = self.inodes.values().filter_map(|inode| match &inode.kind {
            Kind::File(file) => Some(file.durable.len),
            Kind::Dir(_) => None,
        });
        files.sum()
    }

    /// EIO without power: nobody reads or writes a dead disk.
    pub fn check_power(&self) -> Answer<()> {
        if self.powered { Ok(()) } else { Err(EIO) }
    }

    pub fn stat(&self, ino: Ino) -> Answer<Stat> {
        let inode = self.inode(ino)?;
        let (is_dir, len) = match &inode.kind {
            Kind::File(file) => (false, file.live.len),
            Kind::Dir(_) => (true, 0),
        };
        Ok(Stat { is_dir, len, mode: inode.mode })
    }

    pub fn set_mode(&mut self, ino: Ino, mode: u16) -> Answer<()> {
        self.inode_mut(ino)?.mode = mode & 0o7777;
        Ok(())
    }

    pub fn lookup(&self, dir: Ino, name: &str) -> Answer<Ino> {
        self.dir(dir)?.live.get(name).copied().ok_or(ENOENT)
    }

    /// Name, inode and whether it is a directory, in order of names.
    pub fn list(&self, dir: Ino) -> Answer<Vec<(String, Ino, bool)>> {
        let entries = self.dir(dir)?.live.iter().map(|(name, ino)| {
            let is_dir = self.stat(*ino).is_ok_and(|stat| stat.is_dir);
            (name.clone(), *ino, is_dir)
        });
        Ok(entries.collect())
    }

    pub fn create(&mut self, dir: Ino, name: &str, mode: u16) -> Answer<Ino> {
        self.make(dir, name, mode, Kind::File(File::default()))
    }

    pub fn make_dir(&mut self, dir: Ino, name: &str, mode: u16) -> Answer<Ino> {
        self.make(dir, name, mode, Kind::Dir(Dir::default()))
    }

    pub fn unlink(&mut self, dir: Ino, name: &str) -> Answer<()> {
        match self.stat(self.lookup(dir, name)?)?.is_dir {
            true => Err(EISDIR),
            false => self.rewrite(vec![(dir, name.to_owned(), None)]),
        }
    }

    pub fn remove_dir(&mut self, dir: Ino, name: &str) -> Answer<()> {
        match self.dir(self.lookup(dir, name)?)?.live.is_empty() {
            true => self.rewrite(vec![(dir, name.to_owned(), None)]),
            false => Err(ENOTEMPTY),
        }
    }

    pub fn rename(&mut self, from: (Ino, &str), to: (Ino, &str)) -> Answer<()> {
        let ino = self.lookup(from.0, from.1)?;
        if let Ok(replaced) = self.lookup(to.0, to.1) {
            let is_full = self.dir(replaced).is_ok_and(|dir| !dir.live.is_empty());
            is_full.then_some(()).map_or(Ok(()), |()| Err(ENOTEMPTY))?;
        }
        let path = self.path_in(to.0, to.1)?;
        self.inode_mut(ino)?.path = path;
        let gone = (from.0, from.1.to_owned(), None);
        self.rewrite(vec![gone, (to.0, to.1.to_owned(), Some(ino))])
    }

    pub fn read(&self, ino: Ino, offset: u64, len: usize) -> Answer<Vec<u8>> {
        Ok(self.file(ino)?.live.read(offset, len))
    }

    pub fn write(&mut self, ino: Ino, offset: u64, bytes: &[u8]) -> Answer<()> {
        let end = offset + bytes.len() as u64;
        if self.file(ino)?.live.needs_block(offset, end) {
            self.meet(Fault::Full, &self.inode(ino)?.path.clone())?;
        }
        self.file_mut(ino)?.write(offset, bytes);
        Ok(())
    }

    pub fn set_len(&mut self, ino: Ino, len: u64) -> Answer<()> {
        self.file_mut(ino)?.set_len(len);
        Ok(())
    }

    /// Makes a file's bytes durable, not its name.
    pub fn sync_file(&mut self, ino: Ino) -> Answer<()> {
        let failed = self.meet(Fault::SyncFails, &self.inode(ino)?.path.clone());
        let file = self.file_mut(ino)?;
        match failed {
            Ok(()) => file.sync(),
            Err(_) => file.forget_unsynced(),
        }
        failed
    }

    /// Makes the names in a directory durable, and what else the same changes did.
    pub fn sync_dir(&mut self, dir: Ino) -> Answer<()> {
        self.meet(Fault::SyncFails, &self.inode(dir)?.path.clone())?;
        let (due, left): (Vec<_>, Vec<_>) =
            self.unsynced.drain(..).partition(|change| change.touches(dir));
        self.unsynced = left;
        due.into_iter().for_each(|change| self.settle(&change));
        Ok(())
    }

    /// The power cut: what is durable is all there is, and by `SomeKept` a random part more.
    pub fn lose(&mut self, manner: Manner, dice: &mut Dice) -> Losses {
        let mut losses = Losses::default();
        for change in std::mem::take(&mut self.unsynced) {
            if manner == Manner::SomeKept && dice.coin() {
                self.settle(&change);
                losses.names_kept += 1;
            } else {
                losses.names_lost += 1;
            }
        }
        for inode in self.inodes.values_mut() {
            match &mut inode.kind {
                Kind::File(file) => file.lose(manner, dice, &mut losses),
                Kind::Dir(dir) => dir.live = dir.durable.clone(),
            }
        }
        self.forget_unreachable();
        losses
    }

    fn make(&mut self, dir: Ino, name: &str, mode: u16, kind: Kind) -> Answer<Ino> {
        if self.lookup(dir, name).is_ok() {
            return Err(EEXIST);
        }
        let path = self.path_in(dir, name)?;
        self.meet(Fault::Full, &path)?;
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Inode { path, mode: mode & 0o7777, kind });
        self.rewrite(vec![(dir, name.to_owned(), Some(ino))])?;
        Ok(ino)
    }

    fn rewrite(&mut self, names: Vec<(Ino, String, Option<Ino>)>) -> Answer<()> {
        for (dir, name, ino) in &names {
            let live = &mut self.dir_mut(*dir)?.live;
            match ino {
                Some(ino) => live.insert(name.clone(), *ino),
                None => live.remove(name),
            };
        }
        self.unsynced.push(NameChange(names));
        Ok(())
    }

    fn settle(&mut self, change: &NameChange) {
        for (dir, name, ino) in &change.0 {
            // A directory that was removed since keeps no names.
            let Ok(dir) = self.dir_mut(*dir) else { continue };
            match ino {
                Some(ino) => dir.durable.insert(name.clone(), *ino),
                None => dir.durable.remove(name),
            };
        }
    }

    fn forget_unreachable(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(ino) = open.pop() {
            let Ok(dir) = self.dir(ino) else { continue };
            let new: Vec<Ino> =
                dir.live.values().copied().filter(|child| reached.insert(*child)).collect();
            open.extend(new);
        }
        self.inodes.retain(|ino, _| reached.contains(ino));
    }

    /// The planted fault, if this path is where it was planted.
    fn meet(&mut self, fault: Fault, path: &str) -> Answer<()> {
        match &self.planted {
            Some((planted, part)) if *planted == fault && path.contains(part.as_str()) => {
                self.met += 1;
                Err(if fault == Fault::Full { ENOSPC } else { EIO })
            }
            _ => Ok(()),
        }
    }

    fn path_in(&self, dir: Ino, name: &str) -> Answer<String> {
        Ok(format!("{}/{name}", self.inode(dir)?.path))
    }

    fn inode(&self, ino: Ino) -> Answer<&Inode> {
        self.inodes.get(&ino).ok_or(ENOENT)
    }

    fn inode_mut(&mut self, ino: Ino) -> Answer<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(ENOENT)
    }

    fn file(&self, ino: Ino) -> Answer<&File> {
        match &self.inode(ino)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(EISDIR),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Answer<&mut File> {
        match &mut self.inode_mut(ino)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir(_) => Err(EISDIR),
        }
    }

    fn dir(&self, ino: Ino) -> Answer<&Dir> {
        match &self.inode(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(ENOTDIR),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> Answer<&mut Dir> {
        match &mut self.inode_mut(ino)?.kind {
            Kind::Dir(dir) => Ok(dir),
            Kind::File(_) => Err(ENOTDIR),
        }
    }
}

impl NameChange {
    fn touches(&self, dir: Ino) -> bool {
        self.0.iter().any(|(of, _, _)| *of == dir)
    }
}
