//! Which files of a tree a check covers.

use std::fmt;

/// A pattern over a relative path with `/` between its parts. `*` stands for any characters of one
/// part, a part that is `**` for any number of parts (none too). Nothing else is special.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glob(String);

/// What a fault says was expected.
pub(crate) const GLOB_RULE: &str = "a relative path in which * and ** stand for something";

impl Glob {
    /// None for an empty or absolute pattern, an empty part, `.` and `..`, or `**` beside other
    /// characters in one part.
    pub fn parse(text: &str) -> Option<Self> {
        let part_is_good = |part: &str| {
            !matches!(part, "" | "." | "..")
                && (part == "**" || !part.contains("**"))
                && !part.contains(['\\', '\0'])
        };
        text.split('/').all(part_is_good).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it covers the whole of `path`. Takes time in O(pattern × path).
    pub fn matches(&self, path: &str) -> bool {
        let parts: Vec<&str> = self.0.split('/').collect();
        let wanted: Vec<&str> = path.split('/').collect();
        matches_all(&parts, &wanted, |part| *part == "**", |part, got| matches_part(part, got))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn matches_part(pattern: &str, text: &str) -> bool {
    matches_all(pattern.as_bytes(), text.as_bytes(), |byte| *byte == b'*', |a, b| a == b)
}

/// Wildcard matching with one point to go back to (the last star): no recursion, no blow-up.
fn matches_all<T>(
    pattern: &[T],
    text: &[T],
    is_star: impl Fn(&T) -> bool,
    matches_one: impl Fn(&T, &T) -> bool,
) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        if at < pattern.len() && is_star(&pattern[at]) {
            retry = Some((at + 1, from));
            at += 1;
        } else if at < pattern.len() && matches_one(&pattern[at], &text[from]) {
            (at, from) = (at + 1, from + 1);
        } else if let Some((after_star, taken)) = retry {
            retry = Some((after_star, taken + 1));
            (at, from) = (after_star, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(is_star)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, path: &str, expect: bool) {
        let glob = Glob::parse(pattern).unwrap();
        assert_eq!(glob.matches(path), expect, "{pattern} on {path}");
    }

    #[test]
    fn stars_stay_in_a_part_and_double_stars_cross_parts() {
        check("*.txt", "a.txt", true);
        check("*.txt", "b/a.txt", false);
        check("**/*.txt", "a.txt", true);
        check("**/*.txt", "x/y/a.txt", true);
        check("logs/**", "logs/a/b", true);
        check("logs/**", "log/a", false);
        check("a/**/z", "a/z", true);
        check("a/**/z", "a/b/c/z", true);
        check("a/**/z", "a/b/c", false);
        check("*a*b*", "xxaxxbxx", true);
        check("*a*b*", "xxbxxaxx", false);
        check("**/a/**/b", "a/a/x/b", true);
        check("literal", "literal", true);
        check("lit?ral", "literal", false);
    }

    #[test]
    fn patterns_that_could_leave_the_tree_are_refused() {
        for text in ["", "/etc", "a//b", "../x", "a/./b", "a**", "a\\b"] {
            assert_eq!(Glob::parse(text), None, "{text}");
        }
    }
}
