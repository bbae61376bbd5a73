//! Stories and what they come to. A story begins at 09:00 with agent `a` and one run a minute.

use proofmark_evidence::SilenceChange;
use proofmark_slo::{Counted, SloReport};

use crate::spec::{TestSlo, TestSpec, documents};
use crate::timeline::{Teller, instant, occurrences, show_counts, show_percent, tell, timeslices};

/// What every look of the story shows, with commas between.
fn check(slo: &TestSlo, story: &str, show: impl Fn(&SloReport) -> String, expect: &str) {
    let seen: Vec<String> = tell(slo, story).iter().map(show).collect();
    assert_eq!(seen.join(", "), expect, "{story}");
}

/// Good, bad and unknown runs at 90 % over an hour.
fn check_runs(story: &str, expect: &str) {
    check(&occurrences(), story, |report| show_counts(report.counts), expect);
}

fn check_slices(story: &str, expect: &str) {
    let slices = |report: &SloReport| show_counts(report.slices.expect("budget of slices"));
    check(&timeslices(), story, slices, expect);
}

fn check_causes(story: &str, expect: &str) {
    let causes = |report: &SloReport| {
        let causes = report.causes.iter().map(|(reason, runs)| format!("{reason} {runs}"));
        causes.collect::<Vec<_>>().join(" ")
    };
    check(&occurrences(), story, causes, expect);
}

fn check_burn(slo: &TestSlo, story: &str, expect: &str) {
    let burn = |report: &SloReport| {
        let rates = report.burn.iter().map(|burn| match burn.rate_milli {
            None => format!("{} -", burn.window),
            Some(rate) if rate.is_settled() => format!("{} {}", burn.window, rate.worst),
            Some(rate) => format!("{} {}..{}", burn.window, rate.worst, rate.best),
        });
        rates.collect::<Vec<_>>().join(" ")
    };
    check(slo, story, burn, expect);
}

#[test]
fn good_bad_and_unknown_add_up_to_the_expected() {
    check_runs("09:10 look", "0/0/10");
    check_runs("09:00 pass x10, 09:10 look", "10/0/0");
    check_runs("09:00 pass x5, 09:05 fail x3, 09:08 silence x2, 09:10 look", "5/3/2");
    check_runs("09:00 fail x10, 09:10 look", "0/10/0");
    check_runs("09:00 pass, 09:03 pass, 09:06 pass, 09:10 look", "3/0/7");
    check_runs("09:00 pass x5, 09:05 look, 09:05 fail, 09:06 look", "5/0/0, 5/1/0");
}

#[test]
fn nothing_missing_is_good() {
    let sli = |report: &SloReport| show_percent(report.sli_ppb);
    let percent = |story, expect| check(&occurrences(), story, sli, expect);
    percent("09:10 look", "0.00%..100.00%");
    percent("09:00 pass x9, 09:10 look", "90.00%..100.00%");
    percent("09:00 pass x9, 09:09 fail, 09:10 look", "90.00%");
    percent("09:00 fail x1, 09:10 look", "0.00%..90.00%");
    percent("09:00 pass x10, 09:10 look", "100.00%");
    percent("09:00 silence, 09:00:10 look", "no data");
}

#[test]
fn the_budget_is_signed() {
    let left = |report: &SloReport| show_percent(report.budget_remaining_ppb);
    let budget = |story, expect| check(&occurrences(), story, left, expect);
    budget("09:00 pass x20, 09:20 look", "100.00%");
    budget("09:00 pass x19, 09:19 fail, 09:20 look", "50.00%");
    budget("09:00 pass x18, 09:18 fail x2, 09:20 look", "0.00%");
    budget("09:00 pass x17, 09:17 fail x3, 09:20 look", "-50.00%");
    budget("09:00 fail x20, 09:20 look", "-900.00%");
    budget("09:00 pass x18, 09:18 silence x2, 09:20 look", "0.00%..100.00%");
}

#[test]
fn a_slow_pass_is_bad_where_a_limit_is_set() {
    let limited = TestSlo { limit_ms: Some(500), ..occurrences() };
    let just = TestSlo { limit_ms: Some(1_000), ..occurrences() };
    let story = "09:00 pass x3, 09:03 slow x2, 09:05 look";
    let counts = |report: &SloReport| show_counts(report.counts);
    check(&limited, story, counts, "3/2/0");
    check(&just, story, counts, "5/0/0");
    check(&occurrences(), story, counts, "5/0/0");
}

#[test]
fn what_the_agent_could_not_tell_is_unknown_and_keeps_its_cause() {
    check_runs("09:00 pass x5, 09:05 spool_full x2, 09:07 look", "5/0/2");
    check_causes("09:00 pass x5, 09:05 spool_full x2, 09:07 look", "spool_full 2");
    check_causes(
        "09:00 skipped_overrun x2, 09:02 silence x3, 09:05 look",
        "skipped_overrun 2 silent 3",
    );
    check_causes(
        "09:00 agent_fault, 09:01 skipped_busy, 09:02 look",
        "skipped_busy 1 agent_fault 1",
    );
    check_causes("09:00 pass x5, 09:05 look", "");
    check_causes("09:00 spool_full x3, 10:03 look, 10:04 look", "silent 60, silent 60");
    check_causes("09:00 spool_full x3, 10:01 look", "spool_full 2 silent 58");
}

#[test]
fn a_replayed_spool_turns_unknown_into_known() {
    check_runs(
        "09:00 pass x3, 09:03 silence x4, 09:07 look, 09:03 pass x3, 09:06 fail, 09:07:10 look",
        "3/0/4, 6/1/0",
    );
    check_causes("09:05 look, 09:00 pass x5, 09:05:10 look", "silent 5, ");
    check_slices("09:10 look, 09:00 pass x10, 09:10:10 look", "0/0/2, 2/0/0");
    check_slices("09:10 look, 09:00 fail x10, 09:10:10 look", "0/0/2, 0/2/0");
}

#[test]
fn runs_after_the_look_wait_for_their_time() {
    check_runs("09:00 pass x10, 09:04 look, 09:07 look, 09:10 look", "4/0/0, 7/0/0, 10/0/0");
}

#[test]
fn a_run_counts_once() {
    check_runs("09:00 pass x3, 09:00 fail x3, 09:03 look", "3/0/0");
    check_runs("09:00 fail x3, 09:03 look, 09:00 pass x3, 09:03:10 look", "0/3/0, 0/3/0");
    check_runs("09:00 pass x30, 09:00 pass x30, 09:30 look", "30/0/0");
    // A skip note overtakes the run that was still going.
    check_runs("09:01 skipped_overrun, 09:00 pass, 09:02 look", "1/0/1");
}

#[test]
fn the_window_rolls() {
    check_runs(
        "09:00 fail x10, 09:10 pass x60, 10:00 look, 10:05 look, 10:10 look",
        "50/10/0, 55/5/0, 60/0/0",
    );
    // It begins at a whole minute, so it is a little longer than an hour in between.
    check_runs("09:00 fail, 09:01 pass x70, 10:00:40 look, 10:01 look", "59/1/0, 60/0/0");
    check_runs("09:00 fail x60, 13:00 look", "0/0/60");
}

#[test]
fn agents_come_and_go() {
    check_runs("09:05 enrol b, 09:00 pass x10, 09:10 look", "10/0/5");
    check_runs("09:05 enrol b, 09:05 pass@b x5, 09:00 pass x10, 09:10 look", "15/0/0");
    check_runs("09:00 pass x5, 09:05 retire a, 09:10 look", "5/0/0");
    check_runs("09:00 pass x5, 09:05 retire a, 09:08 enrol a, 09:10 look", "5/0/2");
    // A run that was under way when its agent retired is no longer expected, nor counted.
    check_runs("09:00 pass x7, 09:05 look, 09:06 retire a, 09:10 look", "5/0/0, 6/0/0");
}

#[test]
fn a_spec_that_leaves_grid_and_rule_alone_leaves_no_seam() {
    check_runs("09:00 pass x5, 09:05 apply, 09:05 pass x5, 09:10 look", "10/0/0");
    check_runs(
        "09:00 pass x5, 09:05:17 apply, 09:05 look, 09:05 pass x5, 09:10 look",
        "5/0/0, 10/0/0",
    );
}

#[test]
fn a_new_interval_is_expected_from_its_instant() {
    check_runs("09:00 pass x5, 09:05 interval 30, 09:10 look", "5/0/10");
    check_runs("09:00 pass x5, 09:05 interval 30, 09:05 pass x10, 09:10 look", "15/0/0");
    check_runs("09:10 interval 20, 09:10 look, 09:12 look", "0/0/10, 0/0/16");
}

#[test]
fn a_changed_definition_starts_afresh_at_its_instant() {
    check_runs("09:00 fail x6, 09:06 target 950, 09:05 look, 09:08 look", "0/5/0, 0/0/2");
    check_runs("09:00 fail x5, 09:05 target 950, 09:05 pass x5, 09:10 look", "5/0/0");
    // Late results of the time before do not reach the new one.
    check_runs("09:05 target 950, 09:10 look, 09:00 fail x10, 09:10:10 look", "0/0/5, 0/5/0");
    // Changed and changed back is still a change.
    check_runs("09:00 fail x5, 09:05 target 950, 09:06 target 900, 09:10 look", "0/0/4");
}

#[test]
fn a_new_name_of_the_service_changes_no_number() {
    let mut teller = Teller::new(occurrences());
    teller.tell("09:00 pass x5");
    let yaml = teller.spec().yaml().replace("service: shop", "service: store");
    let yaml = yaml.replace("metadata: {name: shop}", "metadata: {name: store}");
    teller.ledger.spec_changed(2, instant("09:05"), &documents(&yaml));
    teller.tell("09:06 look");
    let report = &teller.seen[0];
    assert_eq!((report.service.as_str(), report.revision), ("store", 1));
    assert_eq!(show_counts(report.counts), "5/0/1");
}

#[test]
fn an_objective_that_is_no_longer_defined_ends() {
    let mut teller = Teller::new(occurrences());
    let without = TestSpec { slos: vec![], ..teller.spec().clone() };
    teller.ledger.spec_changed(2, instant("09:05"), &without.documents());
    teller.tell("09:04 look");
    teller.tell("09:05 look");
    assert_eq!(teller.seen.len(), 1);
    assert_eq!(teller.ledger.series().count(), 1, "its check goes on");
}

#[test]
fn one_result_gives_its_reason_to_all_the_runs_it_stands_for() {
    let asleep = "09:00 pass x6, 09:06 missed x30 skipped_asleep, 09:36 pass x4";
    check_runs(&format!("{asleep}, 09:40 look"), "10/0/30");
    check_causes(&format!("{asleep}, 09:40 look"), "skipped_asleep 30");
    // Its window begins within them; what is not told stays silent.
    check_causes(&format!("{asleep}, 10:20 look"), "skipped_asleep 16 silent 40");
    check_causes(
        "09:05 look, 09:00 missed x3 spool_full, 09:05:10 look",
        "silent 5, spool_full 3 silent 2",
    );
    // Each agent tells of itself.
    check_causes(
        "09:00 enrol b, 09:00 missed x10 skipped_asleep, 09:00 missed@b x4 spool_full, 09:10 look",
        "skipped_asleep 10 spool_full 4 silent 6",
    );
}

#[test]
fn what_is_told_never_exceeds_what_was_expected() {
    let for_ever = "09:00 missed x9223372036854775808 skipped_asleep";
    check_causes(
        &format!("{for_ever}, 09:10 look, 09:20 look, 99:00 look"),
        "skipped_asleep 10, skipped_asleep 20, skipped_asleep 60",
    );
    check_causes(&format!("99:00 look, {for_ever}, 99:00:10 look"), "silent 60, skipped_asleep 60");
    check_causes(&format!("{for_ever}, 09:05 retire a, 09:10 look"), "skipped_asleep 5");
    check_causes(
        "09:00 missed x60 skipped_asleep, 09:05 interval 30, 09:05 look, 09:10 look",
        "skipped_asleep 5, skipped_asleep 5 silent 10",
    );
    // Who knew of the new interval only afterwards ran nothing at the new instants either.
    check_causes(
        "09:05 interval 30, 09:10 interval 60, 09:12 look, 09:00 missed x12 spool_full, \
         09:12:10 look",
        "silent 17, spool_full 17",
    );
    check_causes(
        "09:00 missed x5 skipped_asleep, 09:00 missed x8 spool_full, 09:10 look",
        "skipped_asleep 5 spool_full 3 silent 2",
    );
}

#[test]
fn what_is_told_changes_no_number_of_what_is_known() {
    check_runs(
        "09:00 missed x10 skipped_asleep, 09:05 pass x3, 09:08 fail x2, 09:10 look",
        "3/2/5",
    );
    check_causes(
        "09:00 missed x10 skipped_asleep, 09:10 look, 09:05 pass x3, 09:08 spool_full, \
         09:10:10 look",
        "skipped_asleep 10, skipped_asleep 6 spool_full 1",
    );
    check_runs("09:00 pass x5, 09:00 missed x10 skipped_asleep, 09:10 look", "5/0/5");
    check_causes("09:00 pass x5, 09:00 missed x10 skipped_asleep, 09:10 look", "skipped_asleep 5");
}

#[test]
fn a_loss_that_is_found_late_is_told_all_the_same() {
    let story = "09:00 pass x5, 09:25 pass x20, 09:45 look, 09:05 missed x20 spool_damaged, \
                 09:45:10 look";
    check_causes(story, "silent 20, spool_damaged 20");
    check_runs(story, "25/0/20, 25/0/20");
}

#[test]
fn silence_is_said_once_and_ended_once() {
    let mut teller = Teller::new(occurrences());
    let mut turns = Vec::new();
    let story = ["09:00 pass x3", "09:10 pass x2"];
    for (minute, part) in [(3, story[0]), (12, story[1])] {
        teller.tell(part);
        for minute in minute..minute + 8 {
            let rows = teller.ledger.advance(instant(&format!("09:{minute}")));
            turns.extend(rows.iter().map(|row| (minute, row.change)));
        }
    }
    let expect =
        [(7, SilenceChange::Silent), (12, SilenceChange::Heard), (16, SilenceChange::Silent)];
    assert_eq!(turns, expect);
    let view = teller.ledger.series().next().expect("one series");
    let last = view.last.expect("it was heard");
    assert_eq!(view.silent_since_ms, Some(last.scheduled_at_ms + view.interval_ms));
}

#[test]
fn slices_are_good_bad_or_not_settled() {
    check_slices("09:00 pass x10, 09:10 look", "2/0/0");
    check_slices("09:00 pass x9, 09:09 fail, 09:10 look", "2/0/0");
    check_slices("09:00 pass x8, 09:08 fail x2, 09:10 look", "1/1/0");
    check_slices("09:00 pass x4, 09:04 silence, 09:05 look", "1/0/0");
    check_slices("09:00 pass x3, 09:03 silence x2, 09:05 look", "0/0/1");
    check_slices("09:00 fail x2, 09:02 silence x3, 09:05 look", "0/1/0");
    // The open slice is not counted yet.
    check_slices("09:00 fail x7, 09:07 look", "0/1/0");
    // An expected slice without a word is unknown, an unexpected one does not exist.
    check_slices("09:20 look", "0/0/4");
    check_slices("09:00 pass x10, 09:10 retire a, 09:20 enrol a, 09:30 look", "2/0/2");
}

#[test]
fn a_definition_that_begins_within_a_slice_has_no_part_in_it() {
    check_slices("09:00 pass x20, 09:02 target 950, 09:12 look", "1/0/0");
}

#[test]
fn burn_rates_over_all_windows() {
    check_burn(
        &occurrences(),
        "09:00 pass x60, 10:00 fail x3, 10:03 pass x2, 10:05 look",
        "5m 6000 30m 1000 1h 500 6h 462..461 1d 462..461 3d 462..461",
    );
    check_burn(
        &occurrences(),
        "09:00 pass x3, 09:03 silence x2, 09:05 look",
        "5m 4000..0 30m 4000..0 1h 4000..0 6h 4000..0 1d 4000..0 3d 4000..0",
    );
    check_burn(&occurrences(), "09:00:00 look", "5m - 30m - 1h - 6h - 1d - 3d -");
    check_burn(
        &occurrences(),
        "09:00 pass x5, 09:05 retire a, 09:20 look",
        "5m - 30m 0 1h 0 6h 0 1d 0 3d 0",
    );
    check_burn(
        &timeslices(),
        "09:00 fail x5, 09:05 pass x5, 09:10 look",
        "5m 0 30m 5000 1h 5000 6h 5000 1d 5000 3d 5000",
    );
    // No whole slice lies inside the last five minutes.
    check_burn(&timeslices(), "09:00 pass x12, 09:12 look", "5m - 30m 0 1h 0 6h 0 1d 0 3d 0");
}

#[test]
fn a_report_says_what_it_covers() {
    let reports = tell(&occurrences(), "09:10 look, 09:20 target 950, 09:30 look, 11:00 look");
    let covered: Vec<_> = reports.iter().map(|one| (one.revision, one.since_ms)).collect();
    let expect = [(1, instant("09:00")), (2, instant("09:20")), (2, instant("10:00"))];
    assert_eq!(covered, expect);
}

#[test]
fn cells_behind_every_window_are_dropped() {
    let mut teller = Teller::new(occurrences());
    teller.tell("09:00 pass x60");
    let hours = |teller: &Teller| {
        teller.ledger.rows().iter().filter(|(key, _)| key.starts_with(b"h/")).count()
    };
    teller.tell("82:00 look");
    assert_eq!(hours(&teller), 73, "09:00 to 82:00: the longest burn window and an hour");
    teller.tell("100:00 look");
    assert_eq!(hours(&teller), 73);
    assert_eq!(show_counts(teller.seen[1].counts), "0/0/60");
}

#[test]
fn what_does_not_count_says_why() {
    let mut teller = Teller::new(occurrences());
    for part in ["08:00 pass", "09:00 pass@b", "09:00 pass x2", "09:01 fail", "83:00 look"] {
        teller.tell(part);
    }
    teller.tell("09:59 pass");
    teller.tell("10:00 pass");
    let expect = [Counted::NotAssigned, Counted::NotAssigned, Counted::Repeated, Counted::TooOld];
    assert_eq!(teller.ignored, expect);
    assert_eq!(teller.ledger.ignored().not_assigned, 2);
}
