//! SQLite: the embedded default, for one machine. Several processes share it through its write-ahead log.
//!
//! What every request asks is read by `fresh`, on the caller's thread; everything else goes through sqlx, whose threads own their connections.

use std::{collections::HashSet, path::Path, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{
    ConnectOptions, Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::time::timeout;

use super::{Account, Count, Failure, Fresh, Profile, Since, Store, StoreError, Told, asked, stock::Stock};
use crate::events::{Event, Kind};

mod fresh;
mod shop;

use fresh::Readers;

/// How many migrations stand in `catalog/migrations/sqlite/`; SQLite's `user_version` counts those that were applied.
const SCHEMA_VERSION: i64 = 2;

/// How long a question waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// One statement is one transaction, which is synced before it returns.
const RECORD: &str = "
    INSERT INTO interactions (event_id, source, customer_id, visitor, kind, article_id, list_id, occurred_at)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
    FROM json_each(?1) WHERE true
    ON CONFLICT (source, event_id) DO NOTHING
    RETURNING source, event_id";

const EXPIRE: &str = "
    DELETE FROM interactions WHERE rowid IN
        (SELECT rowid FROM interactions WHERE recorded_at < ?2 AND kind = ?1 LIMIT ?3)";

/// A SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    readers: Readers,
    reads: SqlitePool,
    /// One connection: SQLite has one writer at a time, and a queue is fairer than its lock.
    writes: SqlitePool,
    stock: Stock,
}

impl Sqlite {
    /// Opens an existing file and checks its schema.
    ///
    /// # Errors
    /// There is no such file, it can't be opened, or its schema is another version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |detail: String| StoreError::new(Failure::Setup, format!("{}: {detail}", path.display()));
        if !path.is_file() {
            return Err(failed("no such file; `hemline load` makes it".to_owned()));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            // A page that is split would keep a copy of what is deleted from it later: who is forgotten must be in no byte.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .min_connections(1)
                .test_before_acquire(false)
                .acquire_timeout(BUSY_TIMEOUT)
        };
        let reads = pool(4).connect_with(options.clone()).await.map_err(|error| failed(error.to_string()))?;
        let writes = pool(1).connect_lazy_with(options);
        let store = Self { readers: Readers::new(path), reads, writes, stock: Stock::default() };
        store.check(BUSY_TIMEOUT).await?;
        Ok(store)
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn fresh(&self, customer_ids: &[&str], within: Duration) -> Result<Fresh, StoreError> {
        let ids: Vec<_> = customer_ids.iter().map(|id| asked(id)).collect();
        loop {
            let seen = self.stock.seen();
            let cursor = i64::try_from(seen.cursor).unwrap_or(i64::MAX);
            let answer = self.readers.read(&ids, cursor, within).await;
            let (customers, changes) = answer.inspect_err(|_| self.stock.forget())?;
            let last = changes.iter().map(|change| u64::try_from(change.version).unwrap_or_default()).max();
            let cursor = last.map_or(seen.cursor, |last| last.max(seen.cursor));
            if let Some(out_of_stock) = self.stock.add(seen, cursor, changes) {
                return Ok(Fresh { customers, out_of_stock });
            }
        }
    }

    /// Each is answered on its caller's thread: there is nothing to wait for.
    fn at_once(&self) -> usize {
        usize::MAX
    }

    async fn record(&self, events: &[Event], within: Duration) -> Result<Vec<bool>, StoreError> {
        let rows: Vec<_> = events.iter().map(row_of).collect();
        let rows = json(&rows)?;
        let statement = sqlx::query(RECORD).bind(&rows).fetch_all(&self.writes);
        let added = timeout(within, statement).await.map_err(|_| StoreError::slow())??;
        let added = added.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(super::news(events, added.collect::<Result<HashSet<_>, sqlx::Error>>()?))
    }

    async fn check(&self, within: Duration) -> Result<(), StoreError> {
        let question = sqlx::query_scalar("PRAGMA user_version").fetch_one(&self.reads);
        let found: i64 = timeout(within, question).await.map_err(|_| StoreError::slow())??;
        if found == SCHEMA_VERSION { Ok(()) } else { Err(StoreError::schema(found, SCHEMA_VERSION)) }
    }

    async fn expire(&self, kind: Kind, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let statement = sqlx::query(EXPIRE).bind(kind.name()).bind(text(before)).bind(most);
        Ok(statement.execute(&self.writes).await?.rows_affected())
    }

    async fn customers(&self, prefix: &str, most: u32, within: Duration) -> Result<Vec<Profile>, StoreError> {
        if prefix.contains('\0') {
            return Ok(Vec::new()); // no id has one, and neither store could be asked for it
        }
        self.find_customers(prefix, most, within).await
    }

    async fn account(&self, customer_id: &str, most: u32, within: Duration) -> Result<Account, StoreError> {
        self.read_account(asked(customer_id), most, within).await
    }

    async fn counts(&self, since: &Since, span: Duration, within: Duration) -> Result<Vec<Count>, StoreError> {
        self.count(since, span, within).await
    }

    async fn latest(&self, since: &Since, most: u32, within: Duration) -> Result<Vec<Told>, StoreError> {
        self.read_latest(since, most, within).await
    }

    /// SQLite tells nobody.
    async fn changes(&self, _: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {
        std::future::pending().await
    }
}

/// An event in the order of [`RECORD`].
fn row_of(event: &Event) -> [serde_json::Value; 8] {
    let Event { event_id, source, customer_id, visitor, kind, article_id, list_id, occurred_at } = event;
    [
        event_id.as_str().into(),
        source.as_str().into(),
        customer_id.as_str().into(),
        i32::from(*visitor).into(),
        kind.name().into(),
        article_id.as_str().into(),
        list_id.as_deref().into(),
        text(*occurred_at).into(),
    ]
}

/// A time as the store has it: milliseconds, so that all are equally long and sort as they are.
fn text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::new(Failure::Refused, error.to_string()))
}
