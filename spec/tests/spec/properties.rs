//! Whatever is thrown at it, `parse` answers; and what it accepts it can say again.

use std::fs;
use std::sync::LazyLock;

use proofmark_spec::{Source, parse};
use proptest::prelude::*;

use crate::{files_below, root};

/// Good and bad specs to be damaged.
static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut files = files_below(&root().join("deploy/specs"), "yaml");
    files.extend(files_below(&root().join("tests/golden/spec"), "yaml"));
    files.iter().map(|path| fs::read_to_string(path).expect("listed just now")).collect()
});

/// What YAML is sensitive to.
const PIECES: [&str; 24] = [
    "\n",
    "  ",
    "\t",
    ":",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "&a ",
    "*a",
    "|\n",
    ">-\n",
    "---\n",
    "...\n",
    "!!str ",
    "# ",
    "? ",
    "%YAML 1.2\n",
    "\u{feff}",
    "\u{85}",
    "\0",
];

#[derive(Clone, Debug)]
enum Damage {
    Insert(usize, usize),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>();
    prop_oneof![
        (at, 0..PIECES.len()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<usize>(), 1usize..40).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<usize>(), 1usize..40).prop_map(|(at, length)| Damage::Repeat(at, length)),
    ]
}

fn damaged(text: &str, damage: &Damage) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let place = |at: usize| at % (chars.len() + 1);
    match *damage {
        Damage::Insert(at, piece) => {
            let at = place(at);
            _ = chars.splice(at..at, PIECES[piece].chars()).count();
        }
        Damage::Remove(at, length) => {
            let at = place(at);
            let end = (at + length).min(chars.len());
            _ = chars.drain(at..end).count();
        }
        Damage::Repeat(at, length) => {
            let at = place(at);
            let end = (at + length).min(chars.len());
            let piece = chars[at..end].to_vec();
            _ = chars.splice(at..at, piece).count();
        }
    }
    chars.into_iter().collect()
}

fn check_any(text: &str) -> Result<(), TestCaseError> {
    match parse(&[Source { file: "f", text }]) {
        Err(faults) => {
            prop_assert!(!faults.is_empty());
            for line in faults.to_lines() {
                prop_assert!(!line.contains('\n'), "{}", line);
            }
        }
        Ok(documents) => {
            let again = documents.to_yaml();
            let reread = parse(&[Source { file: "again", text: &again }]);
            prop_assert_eq!(reread.as_ref().ok(), Some(&documents), "{:?}\n{}", reread, again);
        }
    }
    Ok(())
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() }
}

/// Pieces in a row, with words between them.
fn heap() -> impl Strategy<Value = String> {
    let piece = (prop::sample::select(&PIECES[..]), "[a-z]{0,3}");
    prop::collection::vec(piece.prop_map(|(piece, word)| [piece, &word].concat()), 0..40)
        .prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn damaged_specs_never_panic(
        seed in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let seed = &SEEDS[seed.index(SEEDS.len())];
        let text = damages.iter().fold(seed.clone(), |text, damage| damaged(&text, damage));
        check_any(&text)?;
    }

    #[test]
    fn any_text_never_panics(text in heap()) {
        check_any(&text)?;
    }
}
