//! One conformance suite for every store: what it knows, what another process has just told it, and what it keeps.
//!
//! PostgreSQL is a real one, at `HEMLINE_TEST_POSTGRES`; `make test-rust` starts it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use catalog::{
    events::{Event, Kind},
    store::{Customer, Failure, Recorded, Store, TOUCHES, Unrecorded, Writer},
};
use jiff::Timestamp;

/// A test for each store.
macro_rules! on_every_store {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test] async fn $name() { super::$name(super::World::sqlite().await).await; })*
        }
        mod on_postgres {
            $(#[tokio::test] async fn $name() { super::$name(super::World::postgres().await).await; })*
        }
    };
}

mod postgres;
mod shop;
mod sqlite;
mod world;

use world::World;

const SECOND: Duration = Duration::from_secs(1);
/// More than anything takes here, also on a machine that is busy with something else.
const IN_TIME: Duration = Duration::from_secs(10);

on_every_store! {
    a_customer_has_an_age_and_purchases_and_a_stranger_neither
    customers_come_in_the_order_in_which_they_are_asked_for
    purchases_come_newest_first_and_once_whoever_wrote_them
    of_many_clicks_the_last_ones_are_told
    the_next_question_knows_what_another_connection_wrote
    what_is_out_of_stock_follows_every_way_of_changing_it
    a_server_that_starts_later_knows_the_same_stock
    an_event_is_new_once_and_those_of_another_source_are_others
    what_is_recorded_is_known_to_every_server_and_outlives_them
    events_of_many_requests_are_all_written_and_each_is_told_of_its_own
    more_events_than_may_wait_are_refused_at_once
    what_has_expired_is_deleted_by_kind_and_a_few_at_a_time
    a_store_of_another_schema_is_refused_with_what_to_do
}

/// An event of anna's.
fn event(event_id: &str, kind: Kind, article_id: &str) -> Event {
    Event {
        event_id: event_id.to_owned(),
        source: String::new(),
        customer_id: "anna".to_owned(),
        visitor: false,
        kind,
        article_id: article_id.to_owned(),
        list_id: None,
        occurred_at: "2020-09-05T10:00:00.123456Z".parse().unwrap(),
    }
}

async fn customer(store: &dyn Store, customer_id: &str) -> Customer {
    store.fresh(&[customer_id], IN_TIME).await.unwrap().customers.remove(0)
}

async fn out_of_stock(store: &dyn Store) -> Vec<String> {
    let articles = store.fresh(&[], IN_TIME).await.unwrap().out_of_stock;
    articles.articles.iter().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect()
}

async fn a_customer_has_an_age_and_purchases_and_a_stranger_neither(world: World) {
    let store = world.open().await.unwrap();
    let purchased = vec!["0108775022".to_owned(), "0108775015".to_owned()];
    let anna = customer(&*store, "anna").await;
    assert_eq!((anna.known, anna.age, anna.purchased), (true, Some(41.5), purchased));
    assert_eq!(customer(&*store, "bob").await, Customer { known: true, ..Customer::default() });
    for stranger in ["'; DROP TABLE customers; --", "", "anna\0", "an\0na", "ANNA", "ann%", "Ä"] {
        assert_eq!(customer(&*store, stranger).await, Customer::default(), "{stranger:?}");
    }
}

async fn customers_come_in_the_order_in_which_they_are_asked_for(world: World) {
    let store = world.open().await.unwrap();
    let mut asked: Vec<_> = (0..40).map(|number| format!("stranger {number}")).collect();
    asked[3] = "anna".to_owned();
    asked[20] = "bob".to_owned();
    asked[39] = "anna".to_owned();
    let ids: Vec<_> = asked.iter().map(String::as_str).collect();
    let customers = store.fresh(&ids, IN_TIME).await.unwrap().customers;
    assert_eq!(customers.len(), 40);
    for (place, customer) in customers.iter().enumerate() {
        assert_eq!(customer.known, [3, 20, 39].contains(&place), "{place}");
        assert_eq!(customer.purchased.len(), if [3, 39].contains(&place) { 2 } else { 0 }, "{place}");
    }
    assert!(store.fresh(&[], IN_TIME).await.unwrap().customers.is_empty());
}

async fn purchases_come_newest_first_and_once_whoever_wrote_them(mut world: World) {
    world
        .execute(
            "INSERT INTO hemline.interactions (event_id, source, customer_id, kind, article_id, occurred_at) VALUES
               ('1', 'till', 'anna', 'purchase', '0108775015', '2020-09-03T09:00:00Z'),
               ('2', 'till', 'anna', 'purchase', '0108775044', '2020-09-03T10:00:00Z'),
               ('3', 'till', 'anna', 'purchase', '0108775037', '2020-09-03T09:00:00Z'),
               ('4', 'till', 'anna', 'purchase', '0108775036', '2020-08-30T00:00:00Z'),
               ('5', 'till', 'anna', 'purchase', '0108775036', '2020-08-31T00:00:00Z'),
               ('6', 'till', 'anna', 'dismiss', '0108775050', '2020-09-04T00:00:00Z'),
               ('7', 'till', 'anna', 'click', '0108775052', '2020-09-04T00:00:00Z'),
               ('8', 'till', 'anna', 'shown', '0108775053', '2020-09-04T00:00:00Z'),
               ('9', 'till', 'bob', 'purchase', '0108775051', '2020-09-04T00:00:00Z')",
        )
        .await;
    let store = world.open().await.unwrap();
    let anna = customer(&*store, "anna").await;
    assert_eq!((anna.known, anna.age), (true, Some(41.5)));
    assert_eq!(anna.purchased, ["0108775044", "0108775015", "0108775037", "0108775022", "0108775036"]);
    let touched: Vec<_> = anna.touched.iter().map(|t| (t.article_id.as_str(), t.kind, t.day)).collect();
    let (september, click, purchase) = (18_506, Kind::Click, Kind::Purchase); // its first day
    let expected = [
        ("0108775052", click, september + 3),
        ("0108775044", purchase, september + 2),
        ("0108775015", purchase, september + 2),
        ("0108775037", purchase, september + 2),
    ];
    assert_eq!(touched[..4], expected);
    assert_eq!(anna.dismissed, ["0108775050"]);
    assert_eq!(customer(&*store, "bob").await.purchased, ["0108775051"]);
}

async fn of_many_clicks_the_last_ones_are_told(mut world: World) {
    let clicks: Vec<_> = (0..2 * TOUCHES)
        .map(|i| format!("('{i}', 'shop', 'anna', 'click', 'a{i:03}', '2020-09-05T10:{:02}:{:02}Z')", i / 60, i % 60))
        .collect();
    let insert =
        "INSERT INTO hemline.interactions (event_id, source, customer_id, kind, article_id, occurred_at) VALUES";
    world.execute(&format!("{insert} {}", clicks.join(","))).await;
    let store = world.open().await.unwrap();
    let anna = customer(&*store, "anna").await;
    let told: Vec<_> = anna.touched.iter().map(|touch| touch.article_id.clone()).collect();
    let expected: Vec<_> = (TOUCHES..2 * TOUCHES).rev().map(|i| format!("a{i:03}")).collect();
    assert_eq!(told, expected);
    assert_eq!(anna.purchased.len(), 2);
}

async fn the_next_question_knows_what_another_connection_wrote(mut world: World) {
    let store = world.open().await.unwrap();
    for number in 0..50 {
        let article = format!("{number:010}");
        world
            .execute(&format!(
                "INSERT INTO hemline.interactions (event_id, customer_id, visitor, kind, article_id, occurred_at)
                 VALUES ('{number}', 'visitor', {}, 'purchase', '{article}', '2020-09-03T00:00:00Z')",
                if world.is_sqlite() { "1" } else { "true" },
            ))
            .await;
        world.execute(&format!("INSERT INTO hemline.stock VALUES ('{article}', 0)")).await;
        let fresh = store.fresh(&["visitor"], IN_TIME).await.unwrap();
        assert!(fresh.customers[0].purchased.contains(&article));
        assert_eq!(fresh.out_of_stock.articles.len(), number + 1);
    }
    world.execute("UPDATE hemline.customers SET age = 42 WHERE customer_id = 'anna'").await;
    assert_eq!(customer(&*store, "anna").await.age, Some(42.0));
    world.execute("DELETE FROM hemline.customers WHERE customer_id = 'anna'").await;
    assert_eq!(customer(&*store, "anna").await, Customer::default());
}

async fn what_is_out_of_stock_follows_every_way_of_changing_it(mut world: World) {
    let store = world.open().await.unwrap();
    assert_eq!(store.fresh(&[], IN_TIME).await.unwrap().out_of_stock.generation, 0);
    let upsert = "INSERT INTO hemline.stock VALUES ('a', 0), ('e', 0) ON CONFLICT (article_id) DO UPDATE SET quantity = excluded.quantity";
    for (change, expected) in [
        ("INSERT INTO hemline.stock VALUES ('a', 3), ('b', 0), ('c', 0)", vec!["b", "c"]),
        ("UPDATE hemline.stock SET quantity = quantity + 1 WHERE article_id = 'b'", vec!["c"]),
        ("UPDATE hemline.stock SET quantity = 7 WHERE article_id = 'b'", vec!["c"]),
        ("UPDATE hemline.stock SET article_id = 'd' WHERE article_id = 'c'", vec!["d"]),
        ("DELETE FROM hemline.stock WHERE article_id = 'b'", vec!["d"]),
        (upsert, vec!["a", "d", "e"]),
        ("DELETE FROM hemline.stock WHERE article_id = 'd'", vec!["a", "e"]),
        ("DELETE FROM hemline.stock", vec![]),
        ("INSERT INTO hemline.stock VALUES ('b', 0), ('c', 1)", vec!["b"]),
    ] {
        world.execute(change).await;
        assert_eq!(out_of_stock(&*store).await, expected, "{change}");
        assert_eq!(out_of_stock(&*world.open().await.unwrap()).await, expected, "{change}, to another server");
    }
    let same = store.fresh(&[], IN_TIME).await.unwrap().out_of_stock.generation;
    assert_eq!(store.fresh(&["anna"], IN_TIME).await.unwrap().out_of_stock.generation, same);
}

async fn a_server_that_starts_later_knows_the_same_stock(mut world: World) {
    let first = world.open().await.unwrap();
    for number in 0..20 {
        world.execute(&format!("INSERT INTO hemline.stock VALUES ('{number:02}', {})", number % 2)).await;
        assert_eq!(out_of_stock(&*first).await, out_of_stock(&*world.open().await.unwrap()).await);
    }
    assert_eq!(out_of_stock(&*first).await.len(), 10);
}

async fn an_event_is_new_once_and_those_of_another_source_are_others(world: World) {
    let store = world.open().await.unwrap();
    let told = event("1", Kind::Click, "a");
    assert_eq!(store.record(std::slice::from_ref(&told), IN_TIME).await.unwrap(), [true]);
    assert_eq!(store.record(std::slice::from_ref(&told), IN_TIME).await.unwrap(), [false]);
    let elsewhere = Event { source: "https://shop.example/till".to_owned(), ..told.clone() };
    let batch = [told, elsewhere.clone(), elsewhere, event("2", Kind::Shown, "b")];
    assert_eq!(store.record(&batch, IN_TIME).await.unwrap(), [false, true, false, true]);
    assert!(store.record(&[], IN_TIME).await.unwrap().is_empty());
}

async fn what_is_recorded_is_known_to_every_server_and_outlives_them(world: World) {
    let other = world.open().await.unwrap();
    {
        let store = world.open().await.unwrap();
        let ä = "Ärmel \"✂\" '; --";
        let events = [
            event("1", Kind::Purchase, ä),
            Event {
                customer_id: ä.to_owned(),
                visitor: true,
                list_id: Some(ä.to_owned()),
                ..event(ä, Kind::Purchase, "b")
            },
        ];
        assert_eq!(store.record(&events, IN_TIME).await.unwrap(), [true, true]);
        assert_eq!(customer(&*other, "anna").await.purchased[0], ä);
        assert_eq!(customer(&*other, ä).await.purchased, ["b"]);
    }
    assert_eq!(customer(&*world.open().await.unwrap(), "anna").await.purchased.len(), 3);
}

async fn events_of_many_requests_are_all_written_and_each_is_told_of_its_own(world: World) {
    let writer = Writer::start(world.open().await.unwrap(), 10_000, 10 * SECOND);
    let requests =
        (0..200).map(|request| {
            let writer = writer.clone();
            tokio::spawn(async move {
                // Each tells one event that all of them tell, and three of its own.
                let mut events = vec![event("everybody's", Kind::Click, "a")];
                events.extend((0..3).map(|number| {
                    event(&format!("{request}/{number}"), Kind::Purchase, &format!("{request}/{number}"))
                }));
                writer.record(events).await
            })
        });
    let (mut accepted, mut repeated) = (0, 0);
    for request in requests.collect::<Vec<_>>() {
        let recorded = request.await.unwrap().unwrap();
        assert_eq!(recorded.accepted + recorded.repeated, 4);
        accepted += recorded.accepted;
        repeated += recorded.repeated;
    }
    assert_eq!((accepted, repeated), (601, 199));
    assert_eq!(customer(&*world.open().await.unwrap(), "anna").await.purchased.len(), 602);
}

async fn more_events_than_may_wait_are_refused_at_once(world: World) {
    let writer = Writer::start(world.open().await.unwrap(), 2, IN_TIME);
    let three = (0..3).map(|number| event(&number.to_string(), Kind::Click, "a")).collect();
    assert!(matches!(writer.record(three).await, Err(Unrecorded::Overloaded)));
    let one = writer.record(vec![event("1", Kind::Click, "a")]).await.unwrap();
    assert_eq!(one, Recorded { accepted: 1, repeated: 0 });
}

async fn what_has_expired_is_deleted_by_kind_and_a_few_at_a_time(mut world: World) {
    let store = world.open().await.unwrap();
    let events = |kind| (0..5).map(move |number| event(&format!("{kind:?}{number}"), kind, &number.to_string()));
    store.record(&events(Kind::Shown).chain(events(Kind::Purchase)).collect::<Vec<_>>(), IN_TIME).await.unwrap();
    let hour_ago = Timestamp::now() - Duration::from_secs(3600);
    assert_eq!(store.expire(Kind::Shown, hour_ago, 100).await.unwrap(), 0, "they are younger, whenever they happened");
    world.execute("UPDATE hemline.interactions SET recorded_at = '2020-01-01T00:00:00.000Z'").await;
    assert_eq!(store.expire(Kind::Shown, hour_ago, 3).await.unwrap(), 3);
    assert_eq!(store.expire(Kind::Shown, hour_ago, 3).await.unwrap(), 2);
    assert_eq!(store.expire(Kind::Shown, hour_ago, 3).await.unwrap(), 0);
    assert_eq!(customer(&*store, "anna").await.purchased.len(), 7, "purchases are of another kind");
}

async fn a_store_of_another_schema_is_refused_with_what_to_do(mut world: World) {
    let newer = world.set_version(99).await;
    let refused = world.open().await.err().unwrap();
    assert_eq!(refused.failure, Failure::Setup);
    let text = refused.to_string();
    assert!(text.contains("schema version 99") && text.contains("the server is older"), "{text}");
    assert!(newer > 0);
    world.set_version(0).await;
    let text = world.open().await.err().unwrap().to_string();
    assert!(text.contains("schema version 0") && text.contains("run `hemline migrate`"), "{text}");
}

/// That something comes to be within some seconds.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
