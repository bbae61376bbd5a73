//! Exact shares of whole numbers, in parts per billion, rounded in a stated direction.
//!
//! No float is ever involved: every replica and every stranger must come to the same digits.
//! Products are formed in 128 bits. The widest, `count * 10^9 * 10^9`, stays below 2^127 for
//! any count a `u64` can hold.

/// The whole, in parts per billion.
pub const ONE_PPB: u64 = 1_000_000_000;
/// Burn rates are kept in thousandths: 14.4 is 14_400.
pub const ONE_MILLI: u64 = 1_000;

/// Which neighbour an inexact quotient becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    Down,
    Up,
}

/// `part / whole` in parts per billion. `whole` is at least 1 and `part` at most `whole`.
pub fn share_ppb(part: u64, whole: u64, rounding: Rounding) -> u64 {
    let share = divide(signed(part) * signed(ONE_PPB), signed(whole), rounding);
    u64::try_from(share).expect("a share of a whole lies in 0..=10^9")
}

/// Whether `part / whole >= target`, by cross multiplication: no rounding can tip it.
pub fn reaches(part: u64, whole: u64, target_ppb: u64) -> bool {
    signed(part) * signed(ONE_PPB) >= signed(target_ppb) * signed(whole)
}

/// `(good/whole - target) / (1 - target)`: 10^9 is an untouched budget, 0 a spent one, less an
/// overspent one. Needs `whole >= 1` and `target_ppb < ONE_PPB`.
pub fn budget_remaining_ppb(good: u64, whole: u64, target_ppb: u64, rounding: Rounding) -> i64 {
    let above_target = signed(good) * signed(ONE_PPB) - signed(target_ppb) * signed(whole);
    let budget = signed(whole) * signed(ONE_PPB - target_ppb);
    let remaining = divide(above_target * signed(ONE_PPB), budget, rounding);
    i64::try_from(remaining).expect("at the least -10^18: nothing good, and 10^-9 of budget")
}

/// `(bad/whole) / (1 - target)` in thousandths: 1000 spends the budget exactly over the window.
/// Needs `whole >= 1` and `target_ppb < ONE_PPB`.
pub fn burn_rate_milli(bad: u64, whole: u64, target_ppb: u64, rounding: Rounding) -> u64 {
    let spent = signed(bad) * signed(ONE_PPB) * signed(ONE_MILLI);
    let rate = divide(spent, signed(whole) * signed(ONE_PPB - target_ppb), rounding);
    u64::try_from(rate).expect("at the most 10^12: all bad, and 10^-9 of budget")
}

fn divide(numerator: i128, denominator: i128, rounding: Rounding) -> i128 {
    let floor = numerator.div_euclid(denominator);
    let exact = numerator.rem_euclid(denominator) == 0;
    match rounding {
        Rounding::Down => floor,
        Rounding::Up => floor + i128::from(!exact),
    }
}

fn signed(value: u64) -> i128 {
    i128::from(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_rounds_the_way_it_is_told() {
        assert_eq!(share_ppb(1, 3, Rounding::Down), 333_333_333);
        assert_eq!(share_ppb(1, 3, Rounding::Up), 333_333_334);
        assert_eq!(share_ppb(1, 4, Rounding::Down), share_ppb(1, 4, Rounding::Up));
        assert_eq!(share_ppb(u64::MAX, u64::MAX, Rounding::Down), ONE_PPB);
    }

    #[test]
    fn reaching_a_target_is_exact() {
        assert!(reaches(999, 1_000, 999_000_000));
        assert!(!reaches(998, 1_000, 999_000_000));
        // 2/3 is below .666666667 although it rounds up to it.
        assert!(!reaches(2, 3, 666_666_667));
        assert!(reaches(2, 3, 666_666_666));
    }

    #[test]
    fn an_overspent_budget_is_negative_and_rounds_toward_its_side() {
        // 95 % asked, 90 % got: the budget was spent twice over.
        assert_eq!(budget_remaining_ppb(90, 100, 950_000_000, Rounding::Down), -1_000_000_000);
        assert_eq!(budget_remaining_ppb(1, 3, 500_000_000, Rounding::Down), -333_333_334);
        assert_eq!(budget_remaining_ppb(1, 3, 500_000_000, Rounding::Up), -333_333_333);
    }

    #[test]
    fn the_widest_values_fit() {
        let tightest = ONE_PPB - 1;
        let remaining = budget_remaining_ppb(0, u64::MAX, tightest, Rounding::Down);
        assert_eq!(remaining, -999_999_999_000_000_000);
        assert_eq!(burn_rate_milli(u64::MAX, u64::MAX, tightest, Rounding::Up), 1_000_000_000_000);
    }

    #[test]
    fn burn_is_the_bad_share_over_the_budget() {
        // 1 % bad on a budget of .1 %: ten times too fast.
        assert_eq!(burn_rate_milli(1, 100, 999_000_000, Rounding::Down), 10_000);
    }
}
