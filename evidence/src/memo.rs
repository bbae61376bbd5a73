//! Signatures that this thread has made or checked before. Off unless asked for: the simulator
//! runs many replicas in one thread, and all of them sign and check the same bytes. What is
//! remembered is a pure function of all its bytes, so nothing comes out otherwise.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::hash::{Hash, sha256_parts};

#[derive(Default)]
struct Memo {
    /// By key and message.
    signed: HashMap<Hash, [u8; 64]>,
    /// By key, signature and message.
    checked: HashMap<Hash, bool>,
}

thread_local! {
    static MEMO: RefCell<Option<Memo>> = const { RefCell::new(None) };
}

/// From here on this thread remembers signatures, and those from before no more.
pub fn remember_signatures() {
    MEMO.with_borrow_mut(|memo| *memo = Some(Memo::default()));
}

pub(crate) fn signed(key: &[u8], message: &[u8], sign: impl FnOnce() -> [u8; 64]) -> [u8; 64] {
    MEMO.with_borrow_mut(|memo| match memo {
        None => sign(),
        Some(memo) => {
            let signature = *memo.signed.entry(sha256_parts(&[key, message])).or_insert_with(sign);
            // What was signed here needs no check.
            memo.checked.insert(sha256_parts(&[key, &signature, message]), true);
            signature
        }
    })
}

pub(crate) fn checked(
    key: &[u8; 32],
    signature: &[u8; 64],
    message: &[u8],
    check: impl FnOnce() -> bool,
) -> bool {
    MEMO.with_borrow_mut(|memo| match memo {
        None => check(),
        Some(memo) => {
            let of = sha256_parts(&[key, signature, message]);
            *memo.checked.entry(of).or_insert_with(check)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    #[test]
    fn what_is_remembered_is_of_just_these_bytes() {
        let key = SigningKey::from_seed([1; 32]);
        let plain = key.sign(b"message");
        remember_signatures();
        let other = SigningKey::from_seed([2; 32]);
        for _ in 0..2 {
            assert_eq!(key.sign(b"message"), plain);
            assert_ne!(other.sign(b"message"), plain);
            assert_eq!(key.public().verify(b"message", &plain), Ok(()));
            assert!(key.public().verify(b"other", &plain).is_err());
            assert!(other.public().verify(b"message", &plain).is_err());
            assert!(key.public().verify(b"message", &other.sign(b"message")).is_err());
        }
    }
}
