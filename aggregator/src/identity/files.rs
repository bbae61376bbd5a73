//! This node's files on disk: whole or absent; secrets never readable by others.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::IdentityFault;

/// Writes `value` as JSON, mode 0600, durable before it returns. Replaces an older file.
pub(super) fn write_secret(path: &Path, value: &impl Serialize) -> Result<(), IdentityFault> {
    let bytes = serde_json::to_vec_pretty(value).expect("our own types are plain JSON");
    replace(path, &bytes, 0o600).map_err(|source| IdentityFault::File { path: path.into(), source })
}

/// Writes what everybody may read, durable before it returns. Replaces an older file.
pub fn write_public(path: &Path, text: &str) -> Result<(), IdentityFault> {
    replace(path, text.as_bytes(), 0o644)
        .map_err(|source| IdentityFault::File { path: path.into(), source })
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A crash here leaves a draft that nobody reads; the next write removes it.
    fs::rename(&draft, path)?;
    // A crash here leaves the old file or the new one, each whole.
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Reads what [`write_secret`] wrote; refuses a file that others could read.
pub(super) fn read_secret<T: DeserializeOwned>(path: &Path) -> Result<T, IdentityFault> {
    let file = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => IdentityFault::Missing { path: path.into() },
        _ => IdentityFault::File { path: path.into(), source },
    };
    let mode = fs::metadata(path).map_err(file)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityFault::Exposed { path: path.into(), mode });
    }
    let bytes = fs::read(path).map_err(file)?;
    serde_json::from_slice(&bytes).map_err(|fault| IdentityFault::Malformed {
        path: path.into(),
        expected: "the JSON that init wrote",
        got: fault.to_string(),
    })
}

/// Makes the directory (and its parents), mode 0700, durably.
pub(super) fn make_directory(path: &Path) -> Result<(), IdentityFault> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    // A crash here leaves directories that a power cut may take, with nothing in them yet.
    let made = made.and_then(|()| sync_names(path));
    made.map_err(|source| IdentityFault::File { path: path.into(), source })
}

/// Makes the name of a directory durable, and those above it. One that we may not open is somebody
/// else's, and so is its name.
fn sync_names(dir: &Path) -> std::io::Result<()> {
    for above in dir.canonicalize()?.ancestors().skip(1) {
        match File::open(above) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            opened => opened?.sync_all()?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn written_for_the_owner_only_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        write_secret(&path, &"one").unwrap();
        write_secret(&path, &"two").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_secret::<String>(&path).unwrap(), "two");
    }

    #[test]
    fn a_readable_or_damaged_or_missing_secret_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let check = |expect: &str| {
            let got = read_secret::<String>(&path).unwrap_err().to_string();
            assert!(got.contains(expect) && got.contains("a.json"), "{got}");
        };
        check("run init first");
        write_secret(&path, &"x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        check("expected mode 0600, got 0644");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "{").unwrap();
        check("expected the JSON that init wrote");
    }
}
