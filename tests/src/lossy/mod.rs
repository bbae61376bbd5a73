//! A disk that loses power: a file system whose unsynced writes and names can be dropped.
//!
//! In: what a process writes below the mount point. Out: the same, until [`LossyDisk::cut_power`],
//! after which only what was synced is there (and, if so asked, a random part of the rest). It never
//! lies about a sync: what `fsync` answered for stays.
//!
//! Everything lies in memory, once as processes see it and once as a power cut leaves it: [`image`]
//! holds the rules and is tested without a mount, [`mount`] gives it to the kernel.

pub mod image;
mod mount;
pub mod sweep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use image::{Doom, Fault, Losses, Manner};

use crate::dice::Dice;
use crate::wait;
use image::Image;

/// How long the kernel may take to let go of a mount that nobody uses.
const UNMOUNTED: Duration = Duration::from_secs(2);

/// A mounted disk. Dropping it unmounts it; what it held is gone.
pub struct LossyDisk {
    image: Arc<Mutex<Image>>,
    at: PathBuf,
    session: Option<fuser::BackgroundSession>,
}

impl LossyDisk {
    /// Mounts an empty disk at `at`, a folder that is made.
    ///
    /// # Errors
    /// The kernel's refusal: this needs root and `/dev/fuse`.
    pub fn mount(at: &Path) -> io::Result<LossyDisk> {
        std::fs::create_dir_all(at)?;
        let image = Arc::new(Mutex::new(Image::new()));
        let mut disk = LossyDisk { image, at: at.to_owned(), session: None };
        disk.power_on()?;
        Ok(disk)
    }

    pub fn path(&self) -> &Path {
        &self.at
    }

    /// From this instant on nothing reaches the disk: every call answers EIO. Whoever wrote must
    /// then be killed, or it goes on with a dead disk.
    pub fn cut_power(&self) {
        self.image().power_off();
    }

    /// Lets the power go in the middle of a change to come.
    pub fn cut_power_in(&self, doom: Doom) {
        self.image().doom(doom);
    }

    pub fn is_powered(&self) -> bool {
        self.image().is_powered()
    }

    /// What the cut left is there again. The kernel forgets what it had cached of the disk.
    ///
    /// # Errors
    /// A process still uses the mount, or the kernel refuses.
    pub fn restore_power(&mut self, manner: Manner, dice: &mut Dice) -> io::Result<Losses> {
        self.unmount();
        let losses = self.image().lose(manner, dice);
        self.power_on()?;
        Ok(losses)
    }

    /// Makes every path that contains `part` meet `fault`, until [`Self::heal`].
    pub fn plant(&self, fault: Fault, part: &str) {
        self.image().plant(fault, part);
    }

    /// Ends the planted fault; answers how often it was met.
    pub fn heal(&self) -> u64 {
        self.image().heal()
    }

    /// How often the planted fault was met.
    pub fn met(&self) -> u64 {
        self.image().met()
    }

    /// Bytes that a power cut would leave.
    pub fn durable_bytes(&self) -> u64 {
        self.image().durable_bytes()
    }

    fn power_on(&mut self) -> io::Result<()> {
        self.image().power_on();
        self.session = Some(mount::start(&self.image, &self.at)?);
        Ok(())
    }

    fn unmount(&mut self) {
        sweep::detach(&self.at);
        let Some(session) = self.session.take() else { return };
        // Its thread ends when nobody holds the mount any more: whoever wrote is dead, but a mount
        // namespace that somebody else on this machine made meanwhile keeps a copy that nobody uses.
        let ended = || session.guard.is_finished().then_some(());
        let _ = wait::hoped("the mount's end", UNMOUNTED, ended);
    }

    fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LossyDisk {
    fn drop(&mut self) {
        // Detached first: a failing test may have left a process in it, and `join` would wait for it.
        sweep::detach(&self.at);
        self.session = None;
    }
}
