//! Ed25519 keys (RFC 8032), by ring. Randomness is handed in; nothing here prints a seed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::hash::{Hash, sha256};
use crate::memo;

const SEED_TEXT_PREFIX: &str = "proofmark-ed25519-seed:";
const PUBLIC_TEXT_PREFIX: &str = "proofmark-ed25519:";

/// Why a key cannot be made, or a signature does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// Says nothing of what was there: it may be most of a secret.
    #[error("expected {SEED_TEXT_PREFIX}<base64 of 32 bytes>")]
    SeedText,
    #[error("expected {PUBLIC_TEXT_PREFIX}<base64 of 32 bytes>, got {got:?}")]
    PublicText { got: String },
    /// One of the points for which some signatures fit many messages.
    #[error("expected a public key of full order, got the weak key {key}")]
    Weak { key: PublicKey },
    #[error("expected a signature by key {key_id}, got one that does not verify")]
    Signature { key_id: KeyId },
}

impl KeyFault {
    pub fn slug(&self) -> &'static str {
        match self {
            Self::NoRandomness => "no_randomness",
            Self::SeedText => "key_not_seed_text",
            Self::PublicText { .. } => "key_not_public_text",
            Self::Weak { .. } => "key_weak",
            Self::Signature { .. } => "signature_invalid",
        }
    }
}

/// SHA-256 of the 32 bytes of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub Hash);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);

/// The secret half. It knows its seed, since the seed is what a key file keeps.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    pub fn generate(random: &dyn SecureRandom) -> Result<SigningKey, KeyFault> {
        let mut seed = [0; 32];
        random.fill(&mut seed).map_err(|_| KeyFault::NoRandomness)?;
        Ok(SigningKey::from_seed(seed))
    }

    pub fn from_seed(seed: [u8; 32]) -> SigningKey {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .expect("ring refuses a seed only when it is not 32 bytes long");
        SigningKey { seed, pair }
    }

    /// The secret itself: for a key file, and nowhere else.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    pub fn public(&self) -> PublicKey {
        let mut public = [0; 32];
        public.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(public)
    }

    pub fn key_id(&self) -> KeyId {
        self.public().key_id()
    }

    /// Deterministic: the same key and message give the same 64 bytes on every machine.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(memo::signed(self.pair.public_key().as_ref(), message, || {
            let mut signature = [0; 64];
            signature.copy_from_slice(self.pair.sign(message).as_ref());
            signature
        }))
    }

    /// `proofmark-ed25519-seed:<base64>`: what a key file contains, a secret.
    pub fn to_text(&self) -> String {
        format!("{SEED_TEXT_PREFIX}{}", STANDARD.encode(self.seed))
    }

    /// Reads a key file's text; white space around it, such as the last newline, is allowed.
    pub fn from_text(text: &str) -> Result<SigningKey, KeyFault> {
        key_bytes(text, SEED_TEXT_PREFIX).map(SigningKey::from_seed).ok_or(KeyFault::SeedText)
    }
}

impl Clone for SigningKey {
    fn clone(&self) -> SigningKey {
        SigningKey::from_seed(self.seed)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.key_id())
    }
}

impl PublicKey {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn key_id(&self) -> KeyId {
        KeyId(sha256(&self.0))
    }

    /// Refuses weak keys too: under one, a signature says nothing about its message.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), KeyFault> {
        if self.is_weak() {
            return Err(KeyFault::Weak { key: *self });
        }
        let is_valid = memo::checked(&self.0, &signature.0, message, || {
            UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature.0).is_ok()
        });
        match is_valid {
            true => Ok(()),
            false => Err(KeyFault::Signature { key_id: self.key_id() }),
        }
    }

    /// Whether the point has small order. Admission refuses to enrol such a key.
    pub fn is_weak(&self) -> bool {
        let mut point = self.0;
        point[31] &= 0x7f; // the sign of x does not change the order
        SMALL_ORDER_POINTS.contains(&point)
    }

    /// `proofmark-ed25519:<base64>`
    pub fn to_text(&self) -> String {
        format!("{PUBLIC_TEXT_PREFIX}{}", STANDARD.encode(self.0))
    }

    pub fn from_text(text: &str) -> Result<PublicKey, KeyFault> {
        key_bytes(text, PUBLIC_TEXT_PREFIX)
            .map(PublicKey)
            .ok_or_else(|| KeyFault::PublicText { got: text.chars().take(80).collect() })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({}..)", STANDARD.encode(&self.0[..6]))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

fn key_bytes(text: &str, prefix: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text.trim().strip_prefix(prefix)?).ok()?.try_into().ok()
}

/// The y coordinates of edwards25519's eight points of small order, little endian, with the two
/// spellings that are not reduced modulo p = 2^255 - 19 and decode to the same points.
const SMALL_ORDER_POINTS: [[u8; 32]; 7] = [
    small(0x00, 0x00, 0x00), // y = 0, order 4
    small(0x01, 0x00, 0x00), // y = 1, order 1
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ], // order 8
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ], // order 8
    small(0xec, 0xff, 0x7f), // y = -1, order 2
    small(0xed, 0xff, 0x7f), // y = p, another spelling of 0
    small(0xee, 0xff, 0x7f), // y = p + 1, another spelling of 1
];

const fn small(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    point[0] = first;
    point[31] = last;
    point
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        std::array::from_fn(byte)
    }

    /// RFC 8032 section 7.1, tests 1 and 3.
    #[test]
    fn rfc_8032() {
        for (seed, public, message, signature) in [
            (
                "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
                "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
                &[][..],
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac\
                 c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
                &[0xaf, 0x82],
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290\
                 ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
        ] {
            let key = SigningKey::from_seed(bytes(seed));
            assert_eq!(key.public(), PublicKey(bytes(public)));
            assert_eq!(key.sign(message), Signature(bytes(signature)));
            assert_eq!(key.public().verify(message, &key.sign(message)), Ok(()));
        }
    }

    #[test]
    fn a_signature_is_for_one_key_and_message() {
        let (key, other) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
        let signature = key.sign(b"said");
        let slug = |public: PublicKey, message: &[u8]| {
            public.verify(message, &signature).map_err(|fault| fault.slug())
        };
        assert_eq!(slug(key.public(), b"said"), Ok(()));
        assert_eq!(slug(key.public(), b"sai"), Err("signature_invalid"));
        assert_eq!(slug(other.public(), b"said"), Err("signature_invalid"));
    }

    /// With the neutral element as key, R neutral and S zero "sign" every message.
    #[test]
    fn weak_keys_verify_nothing() {
        let neutral = small(1, 0, 0);
        let mut forged = Signature([0; 64]);
        forged.0[..32].copy_from_slice(&neutral);
        let ring_says = UnparsedPublicKey::new(&ED25519, neutral).verify(b"anything", &forged.0);
        assert!(ring_says.is_ok(), "if ring refuses it, the list in this file can go");
        for point in SMALL_ORDER_POINTS {
            for sign in [0, 0x80] {
                let mut key = PublicKey(point);
                key.0[31] |= sign;
                let slug = key.verify(b"anything", &forged).map_err(|fault| fault.slug());
                assert_eq!(slug, Err("key_weak"));
            }
        }
        assert!(!SigningKey::from_seed([1; 32]).public().is_weak());
    }

    #[test]
    fn randomness_is_handed_in() {
        let random = ring::rand::SystemRandom::new();
        let (one, other) = (SigningKey::generate(&random), SigningKey::generate(&random));
        assert_ne!(one.unwrap().seed(), other.unwrap().seed());
    }

    #[test]
    fn text_comes_back() {
        let key = SigningKey::from_seed([1; 32]);
        let text = key.to_text();
        assert_eq!(text, "proofmark-ed25519-seed:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
        assert_eq!(SigningKey::from_text(&format!("{text}\n")).unwrap().seed(), key.seed());
        let public = key.public().to_text();
        assert_eq!(PublicKey::from_text(&public), Ok(key.public()));
        // A secret is not taken for a public key, nor the other way round.
        assert!(SigningKey::from_text(&public).is_err());
        assert!(PublicKey::from_text(&text).is_err());
        for wrong in ["", "proofmark-ed25519-seed:", "proofmark-ed25519-seed:AQE=", &text[..60]] {
            assert!(SigningKey::from_text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_prints_a_seed() {
        let key = SigningKey::from_seed([0xab; 32]);
        let seed_text = STANDARD.encode(key.seed());
        let broken = key.to_text().replace("q6s=", "q6t=");
        let fault = SigningKey::from_text(&broken).expect_err("loose bits are not canonical");
        for shown in [format!("{key:?}"), format!("{key:#?}"), format!("{fault:?} {fault}")] {
            assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
            assert!(!shown.contains(&seed_text[..8]), "{shown}");
        }
    }
}
