use std::time::Duration;

use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{FEW, MOST_IDLE, Readers};
use crate::store::Failure;

const SECOND: Duration = Duration::from_secs(1);

/// A file of 100 customers, each as old as their number. Not in write-ahead mode, so that it can be taken for one connection alone.
fn file() -> (TempDir, Connection, Readers) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let connection = Connection::open(&path).unwrap();
    let tables = "
        CREATE TABLE customers (customer_key INTEGER PRIMARY KEY, customer_id TEXT UNIQUE, age REAL);
        CREATE TABLE history (customer_key INTEGER, article_id TEXT, bought_on TEXT);
        CREATE TABLE interactions (customer_id TEXT, kind TEXT, article_id TEXT, occurred_at TEXT);
        CREATE TABLE stock_changes (version INTEGER, article_id TEXT, out_of_stock INTEGER);
        WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100)
        INSERT INTO customers SELECT n, n, n FROM number;";
    connection.execute_batch(tables).unwrap();
    (folder, connection, Readers::new(&path))
}

async fn ages(readers: &Readers, ids: &[&str], within: Duration) -> Result<Vec<Option<f32>>, Failure> {
    let (customers, _) = readers.read(ids, 0, within).await.map_err(|error| error.failure)?;
    Ok(customers.iter().map(|customer| customer.age).collect())
}

#[tokio::test]
async fn few_and_many_customers_come_in_the_order_in_which_they_are_asked_for() {
    let (_folder, _connection, readers) = file();
    for count in [0, 1, FEW, FEW + 1, 100] {
        let ids: Vec<_> = (0..count).rev().map(|number| number.to_string()).collect();
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        let wanted = (0..count).rev().map(|number| (number > 0).then_some(number as f32)).collect::<Vec<_>>();
        assert_eq!(ages(&readers, &ids, SECOND).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn who_has_to_wait_holds_up_nobody_and_waits_no_longer_than_they_said() {
    let (_folder, connection, readers) = file();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // The one thread of this test goes on meanwhile.
    let (late, in_time) = tokio::join!(ages(&readers, &["1"], SECOND / 10), async {
        let waits = tokio::spawn({
            let readers = readers.clone();
            async move { ages(&readers, &["2"], 10 * SECOND).await }
        });
        sleep(SECOND / 5).await;
        connection.execute_batch("COMMIT").unwrap();
        waits.await.unwrap()
    });
    assert_eq!((late, in_time), (Err(Failure::Slow), Ok(vec![Some(2.0)])));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_readers_at_once_a_few_keep_their_connection() {
    let (_folder, connection, readers) = file();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let all: Vec<_> = (0..3 * MOST_IDLE)
        .map(|_| {
            let readers = readers.clone();
            tokio::spawn(async move { ages(&readers, &["7"], 10 * SECOND).await })
        })
        .collect();
    sleep(SECOND / 5).await;
    connection.execute_batch("COMMIT").unwrap();
    for each in all {
        assert_eq!(each.await.unwrap(), Ok(vec![Some(7.0)]));
    }
    assert!((1..=MOST_IDLE).contains(&readers.idle.lock().unwrap().len()));
}
