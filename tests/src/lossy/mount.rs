//! The image behind a mount point: each call of the kernel is one call of the image.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use fuser::{
    BackgroundSession, FileAttr, FileType, Filesystem, MountOption, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow,
};

use super::image::{Answer, Image, Ino, ROOT};
use super::sweep;

/// Nobody but this mount changes the image, so the kernel may keep what it knows.
const KNOWN_FOR: Duration = Duration::from_secs(3600);
const BLOCK_BYTES: u32 = 4096;
/// What `statfs` says there is, in blocks: more than a run uses.
const BLOCKS: u64 = 1 << 24;

/// Serves `image` at `at` on a thread of its own, until the session is dropped.
pub(super) fn start(image: &Arc<Mutex<Image>>, at: &Path) -> io::Result<BackgroundSession> {
    let options = [MountOption::FSName(sweep::source()), MountOption::NoAtime];
    fuser::spawn_mount2(Served { image: Arc::clone(image) }, at, &options)
}

struct Served {
    image: Arc<Mutex<Image>>,
}

impl Served {
    /// The image, if its disk has power.
    fn image(&self) -> Answer<MutexGuard<'_, Image>> {
        let image = self.image.lock().unwrap_or_else(PoisonError::into_inner);
        image.check_power()?;
        Ok(image)
    }

    fn attributes(&self, ino: Ino) -> Answer<FileAttr> {
        attributes(&*self.image()?, ino)
    }

    fn change<T>(&self, make: impl FnOnce(&mut Image) -> Answer<T>) -> Answer<T> {
        self.image()?.change(make)
    }

    fn made(&self, make: impl FnOnce(&mut Image) -> Answer<Ino>) -> Answer<FileAttr> {
        self.change(|image| {
            let ino = make(image)?;
            attributes(image, ino)
        })
    }
}

impl Filesystem for Served {
    fn lookup(&mut self, _: &Request<'_>, parent: Ino, name: &OsStr, reply: ReplyEntry) {
        let found = self.image().and_then(|image| {
            let ino = image.lookup(parent, text(name)?)?;
            attributes(&image, ino)
        });
        answer_entry(found, reply);
    }

    fn getattr(&mut self, _: &Request<'_>, ino: Ino, _: Option<u64>, reply: ReplyAttr) {
        answer_attributes(self.attributes(ino), reply);
    }

    fn setattr(
        &mut self,
        _: &Request<'_>,
        ino: Ino,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<u64>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<u32>,
        reply: ReplyAttr,
    ) {
        let set = self.made(|image| {
            mode.map_or(Ok(()), |mode| image.set_mode(ino, bits(mode)))?;
            size.map_or(Ok(()), |len| image.set_len(ino, len))?;
            Ok(ino)
        });
        answer_attributes(set, reply);
    }

    fn mkdir(
        &mut self,
        _: &Request<'_>,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        answer_entry(self.made(|image| image.make_dir(parent, text(name)?, bits(mode))), reply);
    }

    fn unlink(&mut self, _: &Request<'_>, parent: Ino, name: &OsStr, reply: ReplyEmpty) {
        let done = text(name).and_then(|name| self.change(|image| image.unlink(parent, name)));
        answer(done, reply);
    }

    fn rmdir(&mut self, _: &Request<'_>, parent: Ino, name: &OsStr, reply: ReplyEmpty) {
        let done = text(name).and_then(|name| self.change(|image| image.remove_dir(parent, name)));
        answer(done, reply);
    }

    fn rename(
        &mut self,
        _: &Request<'_>,
        parent: Ino,
        name: &OsStr,
        new_parent: Ino,
        new_name: &OsStr,
        _flags: u32,
        reply: ReplyEmpty,
    ) {
        let done =
            self.change(|image| image.rename((parent, text(name)?), (new_parent, text(new_name)?)));
        answer(done, reply);
    }

    fn open(&mut self, _: &Request<'_>, _ino: Ino, _flags: i32, reply: ReplyOpen) {
        reply.opened(0, 0);
    }

    fn read(
        &mut self,
        _: &Request<'_>,
        ino: Ino,
        _fh: u64,
        offset: i64,
        size: u32,
        _flags: i32,
        _lock_owner: Option<u64>,
        reply: ReplyData,
    ) {
        match self.image().and_then(|image| image.read(ino, place(offset), size as usize)) {
            Ok(bytes) => reply.data(&bytes),
            Err(code) => reply.error(code),
        }
    }

    fn write(
        &mut self,
        _: &Request<'_>,
        ino: Ino,
        _fh: u64,
        offset: i64,
        data: &[u8],
        _write_flags: u32,
        _flags: i32,
        _lock_owner: Option<u64>,
        reply: ReplyWrite,
    ) {
        match self.change(|image| image.write(ino, place(offset), data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("one request's bytes")),
            Err(code) => reply.error(code),
        }
    }

    fn flush(&mut self, _: &Request<'_>, _ino: Ino, _fh: u64, _owner: u64, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&mut self, _: &Request<'_>, ino: Ino, _fh: u64, _data: bool, reply: ReplyEmpty) {
        answer(self.change(|image| image.sync_file(ino)), reply);
    }

    fn fsyncdir(&mut self, _: &Request<'_>, ino: Ino, _fh: u64, _data: bool, reply: ReplyEmpty) {
        answer(self.change(|image| image.sync_dir(ino)), reply);
    }

    fn readdir(
        &mut self,
        _: &Request<'_>,
        ino: Ino,
        _fh: u64,
        offset: i64,
        mut reply: ReplyDirectory,
    ) {
        let entries = match self.image().and_then(|image| image.list(ino)) {
            Ok(entries) => entries,
            Err(code) => return reply.error(code),
        };
        let own = [(".".to_owned(), ino, true), ("..".to_owned(), ROOT, true)];
        let all = own.into_iter().chain(entries).zip(1_i64..);
        for ((name, ino, is_dir), next) in all.skip(usize::try_from(offset).unwrap_or_default()) {
            if reply.add(ino, next, kind(is_dir), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&mut self, _: &Request<'_>, _ino: Ino, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn access(&mut self, _: &Request<'_>, _ino: Ino, _mask: i32, reply: ReplyEmpty) {
        reply.ok();
    }

    fn create(
        &mut self,
        _: &Request<'_>,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.made(|image| image.create(parent, text(name)?, bits(mode))) {
            Ok(attributes) => reply.created(&KNOWN_FOR, &attributes, 0, 0, 0),
            Err(code) => reply.error(code),
        }
    }
}

fn attributes(image: &Image, ino: Ino) -> Answer<FileAttr> {
    let stat = image.stat(ino)?;
    let then = SystemTime::UNIX_EPOCH;
    Ok(FileAttr {
        ino,
        size: stat.len,
        blocks: stat.len.div_ceil(512),
        atime: then,
        mtime: then,
        ctime: then,
        crtime: then,
        kind: kind(stat.is_dir),
        perm: stat.mode,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn kind(is_dir: bool) -> FileType {
    if is_dir { FileType::Directory } else { FileType::RegularFile }
}

/// Names of ours are UTF-8; another is no name of ours.
fn text(name: &OsStr) -> Answer<&str> {
    name.to_str().ok_or(super::image::ENOENT)
}

fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).expect("twelve bits")
}

fn place(offset: i64) -> u64 {
    u64::try_from(offset).expect("the kernel asks for no bytes before the first")
}

fn answer(done: Answer<()>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(code) => reply.error(code),
    }
}

fn answer_entry(made: Answer<FileAttr>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&KNOWN_FOR, &attributes, 0),
        Err(code) => reply.error(code),
    }
}

fn answer_attributes(made: Answer<FileAttr>, reply: ReplyAttr) {
    match made {
        Ok(attributes) => reply.attr(&KNOWN_FOR, &attributes),
        Err(code) => reply.error(code),
    }
}
