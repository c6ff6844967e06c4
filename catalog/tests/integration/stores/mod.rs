//! The store: what it knows, and what another process has just told it.

use std::path::Path;

use catalog::store::{self, Customer, Order, StoreError, StoreUrl};
use sqlx::{Connection, SqliteConnection};

const SCHEMA: &str = include_str!("../../migrations/sqlite/0001_initial.sql");

async fn connect(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap()
}

async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(connection).await.unwrap();
}

/// A store as `hemline load` leaves it.
async fn create(path: &Path) -> SqliteConnection {
    let mut connection = connect(path).await;
    execute(&mut connection, "PRAGMA journal_mode = wal").await;
    execute(&mut connection, SCHEMA).await;
    execute(&mut connection, "PRAGMA user_version = 1").await;
    execute(
        &mut connection,
        "INSERT INTO customers VALUES ('anna', 41.5, 'ACTIVE', 'NONE'), ('bob', NULL, 'ACTIVE', 'NONE');
         INSERT INTO interactions VALUES
           ('anna', 'purchase', '0108775015', '2020-09-01', 'history'),
           ('anna', 'purchase', '0108775022', '2020-09-02', 'history'),
           ('anna', 'click', '0108775029', '2020-09-02', 'history')",
    )
    .await;
    connection
}

fn url(path: &Path) -> StoreUrl {
    format!("sqlite://{}", path.display()).parse().unwrap()
}

#[tokio::test]
async fn a_customer_has_an_age_and_purchases_and_a_stranger_neither() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    create(&path).await;
    let store = store::open(&url(&path)).await.unwrap();
    let purchased = vec!["0108775015".to_owned(), "0108775022".to_owned()];
    assert_eq!(store.customer("anna", Order::Any).await.unwrap(), Customer { known: true, age: Some(41.5), purchased });
    assert_eq!(store.customer("bob", Order::Any).await.unwrap(), Customer { known: true, ..Customer::default() });
    assert_eq!(store.customer("'; DROP TABLE customers; --", Order::Any).await.unwrap(), Customer::default());
}

#[tokio::test]
async fn purchases_come_newest_first_and_once_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut writer = create(&path).await;
    execute(
        &mut writer,
        "INSERT INTO interactions VALUES
           ('anna', 'purchase', '0108775036', '2020-08-30T00:00:00Z', 'history'),
           ('anna', 'purchase', '0108775036', '2020-09-03T09:00:00Z', 'shop'),
           ('anna', 'purchase', '0108775044', '2020-09-03T10:00:00Z', 'shop'),
           ('anna', 'purchase', '0108775037', '2020-09-03T09:00:00Z', 'shop'),
           ('anna', 'dismiss', '0108775050', '2020-09-04T00:00:00Z', 'shop'),
           ('bob', 'purchase', '0108775051', '2020-09-04T00:00:00Z', 'shop')",
    )
    .await;
    let store = store::open(&url(&path)).await.unwrap();
    let anna = store.customer("anna", Order::NewestFirst).await.unwrap();
    assert_eq!((anna.known, anna.age), (true, Some(41.5)));
    assert_eq!(anna.purchased, ["0108775044", "0108775036", "0108775037", "0108775022", "0108775015"]);
    let mut any = store.customer("anna", Order::Any).await.unwrap().purchased;
    any.sort();
    any.dedup();
    let mut newest_first = anna.purchased;
    newest_first.sort();
    assert_eq!(any, newest_first, "the order changes nothing else");
    assert_eq!(store.customer("nobody", Order::NewestFirst).await.unwrap(), Customer::default());
}

#[tokio::test]
async fn the_next_question_knows_what_another_connection_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut writer = create(&path).await;
    let store = store::open(&url(&path)).await.unwrap();
    assert_eq!(store.customer("visitor", Order::Any).await.unwrap().purchased.len(), 0);
    execute(&mut writer, "INSERT INTO interactions VALUES ('visitor', 'purchase', '0108775036', '2020-09-03', 'shop')")
        .await;
    assert_eq!(store.customer("visitor", Order::Any).await.unwrap().purchased, ["0108775036"]);
}

#[tokio::test]
async fn a_store_that_is_missing_or_of_another_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let missing = store::open(&url(&path)).await.err().unwrap().to_string();
    assert!(missing.contains("store.db: no such file"), "{missing}");
    let mut connection = create(&path).await;
    execute(&mut connection, "PRAGMA user_version = 2").await;
    let refused = store::open(&url(&path)).await.err().unwrap();
    assert!(matches!(refused, StoreError::Schema { found: 2, wanted: 1 }), "{refused}");
}

#[test]
fn a_url_that_names_no_store_says_what_one_looks_like() {
    for text in ["store.db", "sqlite://", "mysql://x"] {
        assert_eq!(text.parse::<StoreUrl>().unwrap_err(), "expected sqlite://PATH", "{text}");
    }
}
