//! The identity's files. Each is written whole or not at all, for the owner's eyes only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use proofmark_evidence::{AgentName, KeyId, Origin, Policy, SigningKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::fault::IdentityFault;
use crate::spool::sync_names;

const SIGNING_KEY: &str = "signing.key";
const TLS_KEY: &str = "tls.key.pem";
const CERTIFICATE: &str = "certificate.pem";
const POLICY: &str = "policy";
const ENROLMENT: &str = "enrolment";

/// `identity/` under the data directory.
pub(super) struct Directory {
    path: PathBuf,
}

/// Made here, known to nobody else.
pub(super) struct Keys {
    pub(super) signing: SigningKey,
    pub(super) tls_key_pem: String,
}

/// What enrolment brought.
pub(super) struct Enrolled {
    pub(super) agent: AgentName,
    pub(super) epoch: u64,
    pub(super) origin: Origin,
    pub(super) addresses: Vec<String>,
    pub(super) certificate_pem: String,
    pub(super) policy: Policy,
}

impl Directory {
    pub(super) fn open(data_dir: &Path) -> Result<Directory, IdentityFault> {
        let path = data_dir.join("identity");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        // What lies in it is synced file by file; its own name must not go in a power cut.
        let made = made.and_then(|()| sync_names(&path));
        made.map_err(|source| IdentityFault::File { path: path.clone(), source })?;
        Ok(Directory { path })
    }

    /// As [`Directory::open`], but nothing is made.
    pub(super) fn at(data_dir: &Path) -> Directory {
        Directory { path: data_dir.join("identity") }
    }

    /// The keys that were enrolled. With new ones in their place nothing would be believed.
    pub(super) fn enrolled_keys(&self) -> Result<Keys, IdentityFault> {
        let text = self.read_needed(SIGNING_KEY)?;
        let signing = SigningKey::from_text(&text)
            .map_err(|fault| self.malformed(SIGNING_KEY, "a signing key", fault.to_string()))?;
        Ok(Keys { signing, tls_key_pem: self.read_needed(TLS_KEY)? })
    }

    /// The keys; made on the first call of an agent's life, before it is enrolled.
    pub(super) fn keys(&self) -> Result<Keys, IdentityFault> {
        Ok(Keys { signing: self.signing_key()?, tls_key_pem: self.tls_key_pem()? })
    }

    fn signing_key(&self) -> Result<SigningKey, IdentityFault> {
        if let Some(text) = self.read(SIGNING_KEY)? {
            return SigningKey::from_text(&text)
                .map_err(|fault| self.malformed(SIGNING_KEY, "a signing key", fault.to_string()));
        }
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| IdentityFault::Random)?;
        let key = SigningKey::from_seed(seed);
        self.write(SIGNING_KEY, &format!("{}\n", key.to_text()))?;
        Ok(key)
    }

    fn tls_key_pem(&self) -> Result<String, IdentityFault> {
        if let Some(pem) = self.read(TLS_KEY)? {
            return Ok(pem);
        }
        let pem = rcgen::KeyPair::generate().map_err(IdentityFault::Key)?.serialize_pem();
        self.write(TLS_KEY, &pem)?;
        Ok(pem)
    }

    pub(super) fn missing(&self) -> IdentityFault {
        IdentityFault::Missing { path: self.path.join(ENROLMENT) }
    }

    pub(super) fn other_key(&self, expected: KeyId, got: KeyId) -> IdentityFault {
        let got = format!("{got}, not {expected}");
        self.malformed(SIGNING_KEY, "the key that signed this spool", got)
    }

    /// Makes an enrolment durable; the `enrolment` file last.
    pub(super) fn store(&self, enrolled: &Enrolled) -> Result<(), IdentityFault> {
        self.write(CERTIFICATE, &enrolled.certificate_pem)?;
        self.write(POLICY, &enrolled.policy.to_text())?;
        // A crash here leaves keys and no enrolment: the next start enrols again with the same
        // token and key, and gets the same epoch.
        self.write(ENROLMENT, &enrolled.to_text())
    }

    /// The nodes have changed, and the policy with them.
    pub(super) fn store_policy(&self, policy: &Policy) -> Result<(), IdentityFault> {
        self.write(POLICY, &policy.to_text())
    }

    /// Replaces the addresses of an enrolment, and nothing else of it.
    pub(super) fn store_addresses(&self, addresses: &[String]) -> Result<(), IdentityFault> {
        let Some(mut enrolled) = self.enrolled()? else { return Err(self.missing()) };
        enrolled.addresses = addresses.to_vec();
        self.write(ENROLMENT, &enrolled.to_text())
    }

    /// What [`Directory::store`] stored; `None` when nothing was.
    pub(super) fn enrolled(&self) -> Result<Option<Enrolled>, IdentityFault> {
        let Some(text) = self.read(ENROLMENT)? else { return Ok(None) };
        let certificate_pem = self.read_needed(CERTIFICATE)?;
        let policy = Policy::parse(&self.read_needed(POLICY)?)
            .map_err(|fault| self.malformed(POLICY, "a policy", fault.to_string()))?;
        let enrolled = Enrolled::parse(&text, certificate_pem, policy);
        let expected = "agent, epoch, origin and addresses, one on a line";
        enrolled.ok_or_else(|| self.malformed(ENROLMENT, expected, format!("{text:?}"))).map(Some)
    }

    fn read_needed(&self, name: &str) -> Result<String, IdentityFault> {
        let missing = || self.malformed(name, "the file beside an enrolment", "nothing".to_owned());
        self.read(name)?.ok_or_else(missing)
    }

    fn read(&self, name: &str) -> Result<Option<String>, IdentityFault> {
        let path = self.path.join(name);
        let mode = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(IdentityFault::File { path, source }),
            Ok(metadata) => metadata.mode() & 0o7777,
        };
        if mode & 0o077 != 0 {
            return Err(IdentityFault::Exposed { path, mode });
        }
        fs::read_to_string(&path).map(Some).map_err(|source| IdentityFault::File { path, source })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), IdentityFault> {
        let path = self.path.join(name);
        replace(&self.path, &path, text.as_bytes())
            .map_err(|source| IdentityFault::File { path, source })
    }

    fn malformed(&self, name: &str, expected: &'static str, got: String) -> IdentityFault {
        IdentityFault::Malformed { path: self.path.join(name), expected, got }
    }
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    // A crash here leaves a draft that nobody reads; the next write removes it.
    fs::rename(&draft, path)?;
    // A crash here leaves the old file or the new one, each whole.
    File::open(directory)?.sync_all()
}

impl Enrolled {
    fn to_text(&self) -> String {
        let mut text = format!("agent {}\nepoch {}\n", self.agent, self.epoch);
        text += &format!("origin {}\n", self.origin);
        self.addresses.iter().for_each(|address| text += &format!("address {address}\n"));
        text
    }

    fn parse(text: &str, certificate_pem: String, policy: Policy) -> Option<Enrolled> {
        let mut lines = text.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let agent = AgentName::parse(field("agent")?).ok()?;
        let epoch = field("epoch")?.parse().ok()?;
        let origin = Origin::parse(field("origin")?).ok()?;
        let address = |line: &str| line.strip_prefix("address ").map(str::to_owned);
        let addresses = lines.map(address).collect::<Option<Vec<_>>>()?;
        Some(Enrolled { agent, epoch, origin, addresses, certificate_pem, policy })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn enrolled() -> Enrolled {
        let origin = Origin::parse("proofmark.test/log").unwrap();
        let log_key = SigningKey::from_seed([1; 32]).public();
        let nodes = [("proofmark.test/log/a".to_owned(), SigningKey::from_seed([2; 32]).public())];
        Enrolled {
            agent: AgentName::parse("web-1").unwrap(),
            epoch: 3,
            policy: Policy::for_nodes(&origin, &log_key, &nodes).unwrap(),
            origin,
            addresses: vec!["127.0.0.1:1".to_owned(), "[::1]:2".to_owned()],
            certificate_pem: "pem".to_owned(),
        }
    }

    #[test]
    fn keys_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let one = Directory::open(dir.path()).unwrap().keys().unwrap();
        let two = Directory::open(dir.path()).unwrap().keys().unwrap();
        assert_eq!(one.signing.public(), two.signing.public());
        assert_eq!(one.tls_key_pem, two.tls_key_pem);
    }

    /// A new key under an old enrolment would sign what every aggregator refuses.
    #[test]
    fn the_keys_of_an_enrolment_are_never_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        directory.keys().unwrap();
        directory.store(&enrolled()).unwrap();
        assert!(directory.enrolled_keys().is_ok());
        for name in [SIGNING_KEY, TLS_KEY] {
            let kept = fs::read(directory.path.join(name)).unwrap();
            fs::remove_file(directory.path.join(name)).unwrap();
            let got = directory.enrolled_keys().err().unwrap().to_string();
            assert!(got.contains(&format!("{name}: expected the file beside")), "{got}");
            directory.write(name, std::str::from_utf8(&kept).unwrap()).unwrap();
        }
    }

    #[test]
    fn an_enrolment_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        assert!(directory.enrolled().unwrap().is_none());
        directory.store(&enrolled()).unwrap();
        let found = directory.enrolled().unwrap().unwrap();
        assert_eq!(found.to_text(), enrolled().to_text());
        assert_eq!(found.policy, enrolled().policy);
    }

    #[test]
    fn damage_is_named_by_file() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        directory.store(&enrolled()).unwrap();
        let path = directory.path.join(ENROLMENT);
        fs::write(&path, "agent web-1\nepoch x\n").unwrap();
        let got = directory.enrolled().err().unwrap().to_string();
        assert!(got.contains("enrolment: expected agent, epoch, origin"), "{got}");
        fs::remove_file(&path).unwrap();
        directory.store(&enrolled()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let got = directory.enrolled().err().unwrap().to_string();
        assert!(got.contains("enrolment: expected mode 0600, got 0640"), "{got}");
    }
}
