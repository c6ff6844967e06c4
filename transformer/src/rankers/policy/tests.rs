use std::collections::BTreeMap;

use super::{ChosenBy, Lines, Policy};

fn lines(active: &str, by_history: &str, shadow: &str, fallback: &str) -> Lines {
    let line = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Lines { active: line(active), by_history: line(by_history), shadow: line(shadow), fallback: line(fallback) }
}

fn policy(active: &str, by_history: &str, shadow: &str, fallback: &str) -> Policy {
    Policy::read(&lines(active, by_history, shadow, fallback), "ranking").unwrap()
}

fn customers() -> impl Iterator<Item = String> {
    (0..20_000).map(|number| format!("customer {number}"))
}

#[test]
fn without_a_line_the_predictors_ranking_answers_everybody() {
    let policy = policy("", "", "", "");
    assert!(customers().all(|id| policy.choose(&id, Some(0)) == ("ranking", ChosenBy::Active)));
    assert_eq!((policy.fallback("ranking").count(), policy.shadows("ranking").count()), (0, 0));
}

#[test]
fn shares_are_kept_and_a_customer_stays_where_they_are() {
    let policy = policy("gbdt=90, llm=10", "", "", "");
    let mut counts = BTreeMap::new();
    for id in customers() {
        let (name, _) = policy.choose(&id, None);
        assert_eq!(policy.choose(&id, Some(100)).0, name);
        *counts.entry(name).or_insert(0.0) += 1.0;
    }
    let whole: f64 = counts.values().sum();
    assert!((counts["llm"] / whole - 0.1).abs() < 0.01, "{counts:?}");
}

#[test]
fn the_active_ranker_is_the_one_of_most_customers_and_shares_are_parts_of_them() {
    for (active, expected) in [("", "ranking"), ("llm", "llm"), ("gbdt=1,llm=3", "llm"), ("gbdt=2,llm=2", "gbdt")] {
        assert_eq!(policy(active, "", "", "").active(), expected, "{active}");
    }
    let policy = policy("gbdt=1,llm=3", "", "", "other");
    assert_eq!(["gbdt", "llm", "other"].map(|name| policy.share(name)), [0.25, 0.75, 0.0]);
    assert!(policy.share("other").is_sign_positive(), "people read it in JSON");
}

#[test]
fn where_a_share_grows_nobody_leaves_it() {
    let (small, large) = (policy("gbdt=95,llm=5", "", "", ""), policy("gbdt=80,llm=20", "", "", ""));
    let moved = customers().filter(|id| small.choose(id, None).0 == "llm" && large.choose(id, None).0 != "llm");
    assert_eq!(moved.count(), 0);
}

#[test]
fn a_share_of_nothing_gets_nobody_and_all_of_it_everybody() {
    let policy = policy("llm=0,gbdt=3", "", "", "");
    assert!(customers().all(|id| policy.choose(&id, None).0 == "gbdt"));
    assert_eq!(policy.serving().into_iter().collect::<Vec<_>>(), ["gbdt"]);
}

#[test]
fn short_histories_have_a_ranker_of_their_own_where_it_is_known_that_they_are_short() {
    let policy = policy("gbdt", "cold<1, llm<5", "", "");
    let chosen = [Some(0), Some(1), Some(4), Some(5), None].map(|purchases| policy.choose("anna", purchases).0);
    assert_eq!(chosen, ["cold", "llm", "llm", "gbdt", "gbdt"]);
    assert_eq!(policy.choose("anna", Some(1)).1, ChosenBy::History);
}

#[test]
fn the_one_that_failed_is_not_asked_again_nor_the_one_that_answered_beside_itself() {
    let policy = policy("llm", "", "gbdt, llm", "llm,gbdt,ranking");
    assert_eq!(policy.fallback("llm").collect::<Vec<_>>(), ["gbdt", "ranking"]);
    assert_eq!(policy.shadows("llm").collect::<Vec<_>>(), ["gbdt"]);
}

#[test]
fn a_shadow_is_asked_for_its_part_of_the_requests() {
    let policy = policy("gbdt", "", "llm=25,never=0", "");
    let asked: Vec<_> = (0..20_000).flat_map(|_| policy.shadows("gbdt").collect::<Vec<_>>()).collect();
    assert!((4_600..5_400).contains(&asked.len()) && asked.iter().all(|name| *name == "llm"), "{}", asked.len());
}

#[test]
fn what_a_line_lacks_is_said_with_its_key() {
    for (given, key, reason) in [
        (lines("gbdt,llm", "", "", ""), "active", "expected NAME or NAME=WEIGHT,NAME=WEIGHT, got `gbdt,llm`"),
        (lines("gbdt=x", "", "", ""), "active", "expected NAME=WEIGHT with a number from 0, got `gbdt=x`"),
        (lines("gbdt=-1", "", "", ""), "active", "expected NAME=WEIGHT with a number from 0, got `gbdt=-1`"),
        (lines("gbdt=inf", "", "", ""), "active", "expected NAME=WEIGHT with a number from 0, got `gbdt=inf`"),
        (lines("gbdt=1,llm", "", "", ""), "active", "expected NAME=WEIGHT with a number from 0, got `llm`"),
        (lines("gbdt=0", "", "", ""), "active", "expected a weight above 0, got `gbdt=0`"),
        (lines("gbdt=1,gbdt=2", "", "", ""), "active", "`gbdt` stands there twice"),
        (lines("", "llm", "", ""), "by-history", "expected NAME<PURCHASES, got `llm`"),
        (lines("", "llm<many", "", ""), "by-history", "expected NAME<PURCHASES, got `llm<many`"),
        (lines("", "", "llm=101", ""), "shadow", "expected NAME or NAME=PERCENT from 0 to 100, got `llm=101`"),
        (lines("", "", "", "gbdt,,llm"), "fallback", "expected a ranker's name, got ``"),
    ] {
        assert_eq!(Policy::read(&given, "ranking").unwrap_err(), (key, reason.to_owned()));
    }
}

#[test]
fn a_line_that_is_written_stands_over_the_others_also_where_it_is_empty() {
    let here = Lines { shadow: Some(String::new()), ..lines("llm", "", "", "") };
    let both = here.or(&lines("gbdt", "", "gbdt", "gbdt"));
    assert_eq!(
        (both.active.as_deref(), both.shadow.as_deref(), both.fallback.as_deref()),
        (Some("llm"), Some(""), Some("gbdt"))
    );
}

#[test]
fn a_log_shows_what_holds_and_nothing_else() {
    assert_eq!(policy("", "", "", "").to_string(), "active: ranking=100.0%");
    let all = policy("a=3,b=1", "c<2", "d=5", "e,a").to_string();
    assert_eq!(all, "active: a=75.0%,b=25.0%; by-history: c<2; shadow: d=5.0%; fallback: e,a");
}

#[test]
fn every_ranker_that_a_line_names_is_told_with_its_key() {
    let policy = policy("a=1,b=0", "c<1", "d=5", "e");
    let names: Vec<_> = policy.names().collect();
    assert_eq!(names, [("active", "a"), ("active", "b"), ("by-history", "c"), ("shadow", "d"), ("fallback", "e")]);
    assert_eq!(policy.serving().into_iter().collect::<Vec<_>>(), ["a", "e"]);
}
