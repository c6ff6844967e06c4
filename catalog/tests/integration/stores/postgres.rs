//! What only PostgreSQL has: transactions that end out of turn, sessions that are ended, and servers that are not there.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use catalog::{
    events::Kind,
    store::{self, Failure, Guard, Recorded, Store, StoreUrl, Writer},
};
use futures_util::future::join_all;

use super::{IN_TIME, SECOND, World, event, eventually, out_of_stock, world};

/// Another connection to the same database.
async fn another(world: &World) -> World {
    World::postgres_at(world.url.clone()).await
}

#[tokio::test]
async fn a_change_of_stock_is_seen_though_its_transaction_began_before_others_that_ended_first() {
    let world = World::postgres().await;
    let store = world.open().await.unwrap();
    let (mut slow, mut quick) = (another(&world).await, another(&world).await);
    slow.execute("BEGIN; INSERT INTO hemline.stock VALUES ('slow', 0)").await;
    for number in 0..5 {
        quick.execute(&format!("INSERT INTO hemline.stock VALUES ('quick {number}', 0)")).await;
        assert_eq!(out_of_stock(&*store).await.len(), number + 1);
    }
    slow.execute("COMMIT").await;
    assert!(out_of_stock(&*store).await.contains(&"slow".to_owned()));
}

#[tokio::test]
async fn a_truncated_stock_is_all_in_stock() {
    let mut world = World::postgres().await;
    let store = world.open().await.unwrap();
    world.execute("INSERT INTO hemline.stock VALUES ('a', 0), ('b', 2)").await;
    assert_eq!(out_of_stock(&*store).await, ["a"]);
    world.execute("TRUNCATE hemline.stock").await;
    assert!(out_of_stock(&*store).await.is_empty());
}

#[tokio::test]
async fn who_may_only_write_stock_and_events_can_do_so() {
    let mut world = World::postgres().await;
    let store = world.open().await.unwrap();
    let role = world.url.rsplit('/').next().unwrap().replace("store", "till");
    world
        .execute(&format!(
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA hemline TO {role};
             GRANT SELECT, INSERT, UPDATE ON hemline.stock TO {role}; GRANT INSERT ON hemline.interactions TO {role};
             SET ROLE {role};
             INSERT INTO hemline.stock VALUES ('a', 0);
             INSERT INTO hemline.interactions (event_id, customer_id, kind, article_id, occurred_at)
             VALUES ('1', 'bob', 'purchase', 'b', now())"
        ))
        .await;
    assert_eq!(out_of_stock(&*store).await, ["a"]);
    assert_eq!(super::customer(&*store, "bob").await.purchased, ["b"]);
}

#[tokio::test]
async fn sessions_that_the_server_ended_are_replaced_without_a_failed_question() {
    let world = World::postgres().await;
    let store = world.open().await.unwrap();
    let mut admin = another(&world).await;
    for round in 0..5 {
        let questions = (0..16).map(|_| store.fresh(&["anna"], IN_TIME)).collect::<Vec<_>>();
        for question in join_all(questions).await {
            assert!(question.unwrap().customers[0].known);
        }
        store.record(&[event(&round.to_string(), Kind::Click, "a")], IN_TIME).await.unwrap();
        admin
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'hemline' AND datname = current_database()",
            )
            .await;
        assert_eq!(store.record(&[event(&format!("{round}+"), Kind::Click, "a")], IN_TIME).await.unwrap(), [true]);
    }
}

#[tokio::test]
async fn a_question_that_waits_for_a_lock_ends_in_time_and_so_does_its_session() {
    let world = World::postgres().await;
    let store = world.open().await.unwrap();
    store.fresh(&["anna"], IN_TIME).await.unwrap();
    let (mut blocker, mut admin) = (another(&world).await, another(&world).await);
    blocker.execute("BEGIN; LOCK TABLE hemline.customers").await;
    let begun = Instant::now();
    for _ in 0..20 {
        // More than there are connections: none may stay taken.
        let slow = store.fresh(&["anna"], SECOND / 20).await.unwrap_err();
        assert!(matches!(slow.failure, Failure::Slow | Failure::Away), "{slow}");
    }
    assert!(begun.elapsed() < 10 * SECOND);
    eventually("sessions of questions that were given up end", async || waiting(&mut admin).await == 0).await;
    blocker.execute("ROLLBACK").await;
    assert!(store.fresh(&["anna"], IN_TIME).await.unwrap().customers[0].known);
}

/// Sessions of servers that wait for a lock.
async fn waiting(admin: &mut World) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'hemline' AND wait_event_type = 'Lock'";
    ask(admin, sql).await
}

#[tokio::test]
async fn a_store_that_can_only_be_read_is_read_and_says_so_of_events() {
    let mut world = World::postgres().await;
    let database = world.url.rsplit('/').next().unwrap().to_owned();
    world.execute(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    let store = world.open().await.unwrap();
    assert!(store.fresh(&["anna"], IN_TIME).await.unwrap().customers[0].known);
    let refused = store.record(&[event("1", Kind::Click, "a")], IN_TIME).await.unwrap_err();
    assert_eq!(refused.failure, Failure::ReadOnly);
    world.execute(&format!("SET default_transaction_read_only = off; ALTER DATABASE {database} RESET ALL")).await;
    // Its sessions were opened before: the failure has them replaced.
    assert_eq!(store.record(&[event("1", Kind::Click, "a")], IN_TIME).await.unwrap(), [true]);
}

#[tokio::test]
async fn an_event_that_the_store_refuses_is_not_the_loss_of_others() {
    let world = World::postgres().await;
    let writer = Writer::start(world.open().await.unwrap(), 1000, 5 * SECOND);
    let told = (0..20).map(|number| {
        let article = if number == 7 { "a\0" } else { "a" };
        let (writer, event) = (writer.clone(), event(&number.to_string(), Kind::Click, article));
        tokio::spawn(async move { writer.record(vec![event]).await })
    });
    for (number, told) in told.collect::<Vec<_>>().into_iter().enumerate() {
        let recorded = told.await.unwrap();
        if number == 7 {
            assert!(recorded.is_err());
        } else {
            assert_eq!(recorded.unwrap(), Recorded { accepted: 1, repeated: 0 });
        }
    }
}

#[tokio::test]
async fn a_server_that_acknowledges_before_it_syncs_is_told_not_to() {
    let mut world = World::postgres().await;
    let database = world.url.rsplit('/').next().unwrap().to_owned();
    world.execute(&format!("ALTER DATABASE {database} SET synchronous_commit = off")).await;
    let store = world.open().await.unwrap();
    let mut admin = another(&world).await;
    for number in 0..20 {
        let before: String = ask(&mut admin, "SELECT pg_current_wal_insert_lsn()::text").await;
        store.record(&[event(&number.to_string(), Kind::Click, "a")], IN_TIME).await.unwrap();
        let flushed = format!("SELECT pg_current_wal_flush_lsn() > '{before}'::pg_lsn");
        assert!(ask::<bool>(&mut admin, &flushed).await, "event {number}");
    }
}

/// One value.
async fn ask<T>(world: &mut World, sql: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    let world::Writer::Postgres(connection) = &mut world.writer else { panic!("not PostgreSQL") };
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(connection).await.unwrap()
}

#[tokio::test]
async fn whose_profile_changed_is_told() {
    let mut world = World::postgres().await;
    let store = world.open().await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let listener = tokio::spawn(async move {
        store.changes(&|id| hears.lock().unwrap().push(id.map(str::to_owned))).await;
    });
    eventually("it listens", async || !heard.lock().unwrap().is_empty()).await;
    world.execute("UPDATE hemline.customers SET age = 1 WHERE customer_id = 'anna'").await;
    eventually("one is told by id", async || heard.lock().unwrap().contains(&Some("anna".to_owned()))).await;
    let before = heard.lock().unwrap().len();
    world
        .execute(
            "INSERT INTO hemline.customers (customer_id, club_member_status, fashion_news_frequency)
             SELECT 'c' || n, '', '' FROM generate_series(1, 101) n",
        )
        .await;
    eventually("many are told as everybody", async || heard.lock().unwrap()[before..] == [None]).await;
    listener.abort();
}

#[tokio::test]
async fn a_server_that_went_away_is_no_news_of_anybody_and_one_that_is_back_may_be_of_everybody() {
    let world = World::postgres().await;
    let store = world.open().await.unwrap();
    let heard = Arc::new(Mutex::new(0));
    let hears = heard.clone();
    let listener = tokio::spawn(async move { store.changes(&|_| *hears.lock().unwrap() += 1).await });
    eventually("it listens", async || *heard.lock().unwrap() == 1).await;
    let mut elsewhere = World::postgres_at(std::env::var("HEMLINE_TEST_POSTGRES").unwrap()).await;
    let database = world.url.rsplit('/').next().unwrap();
    elsewhere.execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await;
    let ended = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    elsewhere.execute(&ended).await;
    // It looks for the server at least every two seconds.
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(*heard.lock().unwrap(), 1);
    elsewhere.execute(&format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).await;
    eventually("it listens again", async || *heard.lock().unwrap() == 2).await;
    listener.abort();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_reason_not_to_start_and_is_found_when_it_comes() {
    let url: StoreUrl = "postgres://nobody@127.0.0.1:1/nothing".parse().unwrap();
    let store = store::open(&url, None).await.unwrap();
    let guard = Guard::new(store);
    for _ in 0..3 {
        assert_eq!(guard.fresh(&["anna"], Duration::from_millis(50)).await.unwrap_err().failure, Failure::Away);
    }
    assert!(guard.is_away());
    let begun = Instant::now();
    assert_eq!(guard.fresh(&["anna"], 10 * SECOND).await.unwrap_err().failure, Failure::Away);
    assert!(begun.elapsed() < SECOND, "nobody waits for it");
}

#[tokio::test]
async fn what_is_no_store_is_refused() {
    let server = std::env::var("HEMLINE_TEST_POSTGRES").unwrap();
    let refused = store::open(&server.parse().unwrap(), None).await.err().unwrap();
    assert_eq!(refused.failure, Failure::Setup);
    assert!(refused.to_string().contains("`hemline load` makes a store"), "{refused}");
    let (address, _) = server.rsplit_once('/').unwrap();
    let refused = store::open(&format!("{address}/nothing").parse().unwrap(), None).await.err().unwrap();
    assert_eq!(refused.failure, Failure::Setup);
}
