//! What is known about a number while part of its input is unknown.

/// `worst` treats everything unknown as bad, `best` as good; the truth lies between them.
///
/// `point` looks at what is known only, and is absent when nothing is. For a share "worst" is
/// the smaller end, for a burn rate the larger: the name says which end to fear, not which is
/// less. Rounding never flatters: `worst` and `point` round toward worse, `best` toward better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval<T> {
    pub worst: T,
    pub point: Option<T>,
    pub best: T,
}

impl<T: PartialEq> Interval<T> {
    /// Nothing unknown is left that could move the number.
    pub fn is_settled(&self) -> bool {
        self.worst == self.best
    }
}
