//! What a shop's pages ask, of every store.

use std::time::Duration;

use catalog::{
    events::{Event, Kind},
    store::{Account, Count, Since, Store},
};
use jiff::Timestamp;

use super::{IN_TIME, World, event};

on_every_store! {
    customers_are_found_by_the_beginning_of_their_ids
    without_a_beginning_those_who_bought_last_are_told_first
    a_customers_account_is_who_they_are_and_what_they_bought_last
    what_was_told_is_counted_by_ranker_kind_and_time
    rankers_beyond_the_most_frequent_are_counted_without_their_names
    the_latest_events_are_told_newest_first
    no_text_is_taken_for_a_part_of_the_question
}

const HOUR: Duration = Duration::from_secs(3_600);
const NOON: i64 = 1_600_084_800; // 2020-09-14T12:00:00Z

async fn found(store: &dyn Store, prefix: &str, most: u32) -> Vec<String> {
    let found = store.customers(prefix, most, IN_TIME).await.unwrap();
    found.into_iter().map(|profile| profile.customer_id).collect()
}

fn all() -> Since {
    Since { recorded: Timestamp::UNIX_EPOCH, ranker: None }
}

/// So many events of this kind in this list, recorded at this time.
async fn told(world: &mut World, ids: &str, count: usize, kind: &str, list: Option<&str>, recorded_at: &str) {
    let list = list.map_or("NULL".to_owned(), |list| format!("'{list}'"));
    let row =
        |i| format!("('{ids}{i}', 'anna', '{kind}', 'a{i}', {list}, '2020-01-01T00:00:00.000Z', '{recorded_at}')");
    let rows: Vec<_> = (0..count).map(row).collect();
    let columns = "event_id, customer_id, kind, article_id, list_id, occurred_at, recorded_at";
    world.execute(&format!("INSERT INTO hemline.interactions ({columns}) VALUES {}", rows.join(","))).await;
}

async fn customers_are_found_by_the_beginning_of_their_ids(mut world: World) {
    let ids = ["ann", "anna%", "annabel", "Anna", "ann_", "anne", "änne", "zoë"];
    let rows: Vec<_> = ids.iter().map(|id| format!("('{id}', NULL, 'ACTIVE', 'NONE')")).collect();
    let columns = "customer_id, age, club_member_status, fashion_news_frequency";
    world.execute(&format!("INSERT INTO hemline.customers ({columns}) VALUES {}", rows.join(","))).await;
    let store = world.open().await.unwrap();
    assert_eq!(found(&*store, "ann", 100).await, ["ann", "ann_", "anna", "anna%", "annabel", "anne"]);
    assert_eq!(found(&*store, "ann", 2).await, ["ann", "ann_"]);
    for (prefix, expected) in
        [("anna%", vec!["anna%"]), ("ann_", vec!["ann_"]), ("ä", vec!["änne"]), ("zoë", vec!["zoë"])]
    {
        assert_eq!(found(&*store, prefix, 100).await, expected, "{prefix}");
    }
    for stranger in ["%", "_", "annabel ", "ANNA", "ann\0", "\0", "\u{10ffff}", "'"] {
        assert!(found(&*store, stranger, 100).await.is_empty(), "{stranger:?}");
    }
    let anna = store.customers("anna", 1, IN_TIME).await.unwrap().remove(0);
    assert_eq!((anna.age, anna.club_member_status.as_str(), anna.purchases), (Some(41.5), "ACTIVE", 2));
}

async fn without_a_beginning_those_who_bought_last_are_told_first(world: World) {
    let store = world.open().await.unwrap();
    assert_eq!(found(&*store, "", 10).await, ["anna", "bob"]);
    let bought = Event { customer_id: "bob".to_owned(), ..event("1", Kind::Purchase, "a") };
    let looked = event("2", Kind::Click, "a");
    store.record(&[bought, looked], IN_TIME).await.unwrap();
    assert_eq!(found(&*store, "", 10).await, ["bob", "anna"]);
    assert_eq!(found(&*store, "", 1).await, ["bob"]);
    assert_eq!(store.customers("", 1, IN_TIME).await.unwrap()[0].purchases, 1);
}

async fn a_customers_account_is_who_they_are_and_what_they_bought_last(world: World) {
    let store = world.open().await.unwrap();
    let events = [
        event("1", Kind::Purchase, "0108775044"), // 2020-09-05
        event("2", Kind::Click, "0108775045"),
        Event { customer_id: "visitor".to_owned(), visitor: true, ..event("3", Kind::Purchase, "b") },
    ];
    store.record(&events, IN_TIME).await.unwrap();
    let anna = store.account("anna", 10, IN_TIME).await.unwrap();
    let profile = anna.profile.unwrap();
    assert_eq!((profile.customer_id.as_str(), profile.age, profile.purchases), ("anna", Some(41.5), 3));
    let bought: Vec<_> =
        anna.purchases.iter().map(|bought| (bought.article_id.as_str(), bought.bought_on.to_string())).collect();
    let expected = [("0108775044", "2020-09-05"), ("0108775022", "2020-09-02"), ("0108775015", "2020-09-01")];
    assert_eq!(bought, expected.map(|(article, day)| (article, day.to_owned())));
    assert_eq!(store.account("anna", 1, IN_TIME).await.unwrap().purchases.len(), 1);
    let visitor = store.account("visitor", 10, IN_TIME).await.unwrap();
    assert_eq!((visitor.profile, visitor.purchases.len()), (None, 1));
    for stranger in ["", "ANNA", "ann%", "anna\0", "'; DROP TABLE customers; --"] {
        assert_eq!(store.account(stranger, 10, IN_TIME).await.unwrap(), Account::default(), "{stranger:?}");
    }
}

async fn what_was_told_is_counted_by_ranker_kind_and_time(mut world: World) {
    told(&mut world, "a", 3, "shown", Some("ranking@1/a"), "2020-09-14T12:00:00.000Z").await;
    told(&mut world, "b", 2, "shown", Some("ranking@2/b"), "2020-09-14T12:59:59.999Z").await;
    told(&mut world, "c", 1, "purchase", Some("ranking@2/b"), "2020-09-14T13:00:00.000Z").await;
    told(&mut world, "d", 1, "click", Some("a@b@2/c"), "2020-09-14T13:00:00.000Z").await;
    told(&mut world, "e", 1, "dismiss", Some("page-9"), "2020-09-14T13:00:00.000Z").await;
    told(&mut world, "f", 1, "dismiss", Some("@"), "2020-09-14T13:00:00.000Z").await;
    told(&mut world, "g", 1, "dismiss", None, "2020-09-14T13:00:00.000Z").await;
    let store = world.open().await.unwrap();
    let count = |at, ranker: &str, kind, times| Count { at, ranker: ranker.to_owned(), kind, times };
    let (noon, one) = (NOON, NOON + 3_600);
    let expected = [
        count(noon, "ranking", Kind::Shown, 5),
        count(one, "", Kind::Dismiss, 3),
        count(one, "a@b", Kind::Click, 1),
        count(one, "ranking", Kind::Purchase, 1),
    ];
    assert_eq!(store.counts(&all(), HOUR, IN_TIME).await.unwrap(), expected);
    let later = Since { recorded: Timestamp::from_second(one).unwrap(), ..all() };
    assert_eq!(store.counts(&later, HOUR, IN_TIME).await.unwrap(), expected[1..]);
    let days = store.counts(&all(), 24 * HOUR, IN_TIME).await.unwrap();
    assert_eq!(
        days.iter().find(|count| count.kind == Kind::Shown),
        Some(&count(noon - 12 * 3_600, "ranking", Kind::Shown, 5))
    );
    for (ranker, of) in [("a@b", &expected[2..3]), ("a", &[]), ("", &expected[1..2])] {
        let since = Since { ranker: Some(ranker.to_owned()), ..all() };
        assert_eq!(store.counts(&since, HOUR, IN_TIME).await.unwrap(), of, "{ranker:?}");
    }
}

async fn rankers_beyond_the_most_frequent_are_counted_without_their_names(mut world: World) {
    for ranker in 0..30 {
        let list = format!("ranker-{ranker:02}@1/a");
        told(&mut world, &list, 31 - ranker, "shown", Some(&list), "2020-09-14T12:00:00.000Z").await;
    }
    let store = world.open().await.unwrap();
    let counts = store.counts(&all(), HOUR, IN_TIME).await.unwrap();
    assert_eq!(counts.iter().map(|count| count.times).sum::<u64>(), (2..=31).sum::<u64>());
    let named: Vec<_> = counts.iter().filter(|count| !count.ranker.is_empty()).collect();
    assert_eq!((named.len(), named[19].ranker.as_str()), (20, "ranker-19"));
}

async fn the_latest_events_are_told_newest_first(mut world: World) {
    told(&mut world, "a", 1, "shown", Some("ranking@1/a"), "2020-09-14T12:00:00.000Z").await;
    told(&mut world, "b", 1, "click", None, "2020-09-14T12:00:01.500Z").await;
    told(&mut world, "c", 1, "purchase", Some("llm@1/a"), "2020-09-14T12:00:02.000Z").await;
    let store = world.open().await.unwrap();
    let latest = store.latest(&all(), 20, IN_TIME).await.unwrap();
    let seen: Vec<_> = latest.iter().map(|told| (told.at - 1_000 * NOON, told.kind, told.list_id.as_deref())).collect();
    let expected =
        [(2_000, Kind::Purchase, Some("llm@1/a")), (1_500, Kind::Click, None), (0, Kind::Shown, Some("ranking@1/a"))];
    assert_eq!(seen, expected);
    assert_eq!((latest[0].customer_id.as_str(), latest[0].article_id.as_str()), ("anna", "a0"));
    assert_eq!(store.latest(&all(), 1, IN_TIME).await.unwrap(), latest[..1]);
    let of_one = Since { ranker: Some("ranking".to_owned()), ..all() };
    assert_eq!(store.latest(&of_one, 20, IN_TIME).await.unwrap(), latest[2..]);
    let later = Since { recorded: Timestamp::from_second(NOON + 1).unwrap(), ..all() };
    assert_eq!(store.latest(&later, 20, IN_TIME).await.unwrap(), latest[..2]);
    store.record(&[event("now", Kind::Shown, "a")], IN_TIME).await.unwrap();
    assert_eq!(
        store.latest(&all(), 1, IN_TIME).await.unwrap()[0].kind,
        Kind::Shown,
        "that it happened long ago is no matter"
    );
}

async fn no_text_is_taken_for_a_part_of_the_question(world: World) {
    let store = world.open().await.unwrap();
    for text in ["' OR '1'='1", "'; DROP TABLE hemline.interactions; --", "%", "_", "\\", "\"", "✂", "$1", "?1"] {
        let since = Since { ranker: Some(text.to_owned()), ..all() };
        assert!(found(&*store, text, 10).await.is_empty(), "{text}");
        assert!(store.counts(&since, HOUR, IN_TIME).await.unwrap().is_empty(), "{text}");
        assert!(store.latest(&since, 10, IN_TIME).await.unwrap().is_empty(), "{text}");
    }
    assert_eq!(found(&*store, "anna", 10).await, ["anna"]);
}
