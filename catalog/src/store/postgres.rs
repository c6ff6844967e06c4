//! PostgreSQL, and what speaks its protocol: for any number of servers. Everything it is asked is one prepared statement, one round trip,
//! and no session state: a pooler in transaction mode may stand between.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::{
    ConnectOptions, PgPool, Row,
    pool::PoolConnection,
    postgres::{PgArguments, PgConnectOptions, PgListener, PgPoolOptions, PgRow},
    query::Query,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Account, Count, Customer, Failure, Fresh, Profile, Since, Store, StoreError, Told, asked,
    customer::{DISMISSED, Done, TOUCHES},
    stock::{Change, Stock},
};
use crate::events::{Event, Kind};

mod faults;
mod shop;

use faults::Faults;

/// How many migrations stand in `catalog/migrations/postgres/`.
const SCHEMA_VERSION: i64 = 1;

/// Connections for reads. A question takes a fraction of a millisecond, so few of them carry thousands of requests a second.
const READERS: u32 = 8;
/// Connections for writes: one writes events, one what has expired.
const WRITERS: u32 = 2;
/// Where customers whose profile was changed are told.
const CHANNEL: &str = "hemline_customers";

/// Of each session: what a client that went away leaves running ends soon, and plans of a millisecond are not compiled.
const SESSION: [(&str, &str); 3] =
    [("statement_timeout", "30s"), ("client_connection_check_interval", "1s"), ("jit", "off")];

/// How many of a customer's last clicks and dismissals are told.
#[allow(clippy::cast_possible_wrap)]
const CLICKS: i64 = TOUCHES as i64;
#[allow(clippy::cast_possible_wrap)]
const DISMISSALS: i64 = DISMISSED as i64;

/// Customers in the order asked for; then a row with the changes of stock that the last snapshot did not see, and where this one ends.
/// The upper bound of `changed_by` bounds nothing: a range is what the planner takes the index for when it does not know the value.
const FRESH: &str = "
    SELECT asked.place, customers.customer_id IS NOT NULL, customers.age,
           purchases.articles, purchases.at, clicks.articles, clicks.at, dismissals.articles, dismissals.at,
           NULL::boolean[], NULL::bigint[], NULL::text
    FROM unnest($1::text[]) WITH ORDINALITY AS asked (customer_id, place)
    LEFT JOIN hemline.customers ON customers.customer_id = asked.customer_id COLLATE \"C\"
    CROSS JOIN LATERAL (
        SELECT array_agg(article_id) AS articles, array_agg((extract(epoch FROM at) * 1000)::bigint) AS at
        FROM (SELECT article_id, bought_on::timestamp AT TIME ZONE 'UTC' AS at
              FROM hemline.history WHERE history.customer_key = customers.customer_key
              UNION ALL
              SELECT article_id, occurred_at
              FROM hemline.interactions
              WHERE interactions.customer_id = asked.customer_id COLLATE \"C\" AND kind = 'purchase') done) purchases
    CROSS JOIN LATERAL (
        SELECT array_agg(article_id) AS articles, array_agg((extract(epoch FROM occurred_at) * 1000)::bigint) AS at
        FROM (SELECT article_id, occurred_at
              FROM hemline.interactions
              WHERE interactions.customer_id = asked.customer_id COLLATE \"C\" AND kind = 'click'
              ORDER BY occurred_at DESC LIMIT $3) done) clicks
    CROSS JOIN LATERAL (
        SELECT array_agg(article_id) AS articles, array_agg((extract(epoch FROM occurred_at) * 1000)::bigint) AS at
        FROM (SELECT article_id, occurred_at
              FROM hemline.interactions
              WHERE interactions.customer_id = asked.customer_id COLLATE \"C\" AND kind = 'dismiss'
              ORDER BY occurred_at DESC LIMIT $4) done) dismissals
    UNION ALL
    SELECT 0, NULL, NULL, array_agg(article_id), NULL, NULL, NULL, NULL, NULL, array_agg(out_of_stock), array_agg(version),
           pg_snapshot_xmin(pg_current_snapshot())::text
    FROM hemline.stock_changes
    WHERE changed_by >= $2::text::xid8 AND changed_by < '18446744073709551615'::xid8";

/// Commits itself. A server that is set to acknowledge before it has synced is told not to for this transaction: `$9` are the settings
/// that are good enough, the one to take first.
const RECORD: &str = "
    WITH added AS (
        INSERT INTO hemline.interactions (event_id, source, customer_id, visitor, kind, article_id, list_id, occurred_at)
        SELECT event_id, source, customer_id, visitor, kind, article_id, list_id, occurred_at::timestamptz
        FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::text[], $6::text[], $7::text[], $8::text[])
             AS told (event_id, source, customer_id, visitor, kind, article_id, list_id, occurred_at)
        ON CONFLICT (source, event_id) DO NOTHING
        RETURNING source, event_id)
    SELECT source, event_id,
           CASE WHEN current_setting('synchronous_commit') <> ALL ($9::text[])
                THEN set_config('synchronous_commit', ($9::text[])[1], true) END
    FROM added";

/// What `synchronous_commit` may be for an event to survive a crash of the server.
const DURABLE: [&str; 4] = ["on", "local", "remote_write", "remote_apply"];
/// The same where a replica is read: the next request there must know it too.
const APPLIED: [&str; 1] = ["remote_apply"];

/// The lock is one number in the whole database: it is this project's name in ASCII.
const EXPIRE: &str = "
    DELETE FROM hemline.interactions WHERE ctid = ANY (ARRAY(
        SELECT interactions.ctid
        FROM (SELECT pg_try_advisory_xact_lock(29382133427266149) AS is_ours) turn
        JOIN hemline.interactions ON turn.is_ours
        WHERE recorded_at < $2::text::timestamptz AND kind = $1 LIMIT $3))";

/// A PostgreSQL server, and perhaps a replica of it.
#[derive(Debug)]
pub struct Postgres {
    reads: PgPool,
    writes: PgPool,
    durable: &'static [&'static str],
    stock: Stock,
    faults: Arc<Faults>,
}

impl Postgres {
    /// Connects. Questions go to `replica` where there is one.
    ///
    /// # Errors
    /// What is there is not a store of this schema. A server that can't be reached is no error: it may come.
    pub async fn open(primary: &PgConnectOptions, replica: Option<&PgConnectOptions>) -> Result<Self, StoreError> {
        let faults = Arc::new(Faults::new());
        let store = Self {
            reads: pool(replica.unwrap_or(primary), READERS, &faults),
            writes: pool(primary, WRITERS, &faults),
            durable: if replica.is_some() { APPLIED.as_slice() } else { DURABLE.as_slice() },
            stock: Stock::default(),
            faults,
        };
        match store.check(Duration::from_secs(5)).await {
            Err(error) if error.failure == Failure::Setup => return Err(error),
            Err(error) => tracing::warn!(%error, "the store does not answer yet"),
            Ok(()) => store.warn_of_settings(replica.is_some()).await,
        }
        Ok(store)
    }

    /// What the server is set to that breaks a promise of ours, and that only its owner can mend.
    async fn warn_of_settings(&self, has_replica: bool) {
        let settings = sqlx::query("SELECT current_setting('fsync'), current_setting('synchronous_standby_names')");
        let Ok(row) = settings.fetch_one(&self.writes).await else { return };
        if row.try_get(0).is_ok_and(|fsync: String| fsync == "off") {
            tracing::warn!("the store's `fsync` is off: a crash of its machine can lose events that were acknowledged");
        }
        if has_replica && row.try_get(1).is_ok_and(|names: String| names.is_empty()) {
            tracing::warn!(
                "the store's `synchronous_standby_names` is empty: the replica may be read before it has what was acknowledged"
            );
        }
    }

    /// Asks, and asks once more where the connection turns out to be broken: the server may have been restarted since it was used. The
    /// statements here may all be repeated.
    async fn ask<'q, Q>(&self, pool: &PgPool, statement: Q, within: Duration) -> Result<Vec<PgRow>, StoreError>
    where
        Q: Fn() -> Query<'q, sqlx::Postgres, PgArguments> + Send + Sync,
    {
        let deadline = Instant::now() + within;
        match self.attempt(pool, statement(), deadline).await {
            Err(error) if error.failure == Failure::Away && Instant::now() < deadline => {
                self.attempt(pool, statement(), deadline).await
            }
            answer => answer,
        }
    }

    async fn attempt(
        &self,
        pool: &PgPool,
        statement: Query<'_, sqlx::Postgres, PgArguments>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StoreError> {
        let answer = match timeout_at(deadline, pool.acquire()).await {
            Ok(Ok(connection)) => {
                let mut connection = InUse(Some(connection));
                let answer = connection.ask(statement, deadline).await;
                if answer.is_ok() {
                    connection.give_back();
                }
                answer
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(StoreError::new(Failure::Away, "no connection in time")),
        };
        answer.inspect_err(|error| {
            // A server that became a replica is not the one to write to: its successor may have the same name.
            if matches!(error.failure, Failure::Away | Failure::ReadOnly) {
                self.faults.now();
                self.stock.forget();
            }
        })
    }
}

#[async_trait]
impl Store for Postgres {
    async fn fresh(&self, customer_ids: &[&str], within: Duration) -> Result<Fresh, StoreError> {
        let deadline = Instant::now() + within;
        let ids: Vec<_> = customer_ids.iter().map(|id| asked(id).to_owned()).collect();
        loop {
            let seen = self.stock.seen();
            let question = || {
                let question = sqlx::query(FRESH).bind(ids.clone()).bind(seen.cursor.to_string());
                question.bind(CLICKS).bind(DISMISSALS)
            };
            let rows = self.ask(&self.reads, question, deadline.saturating_duration_since(Instant::now())).await?;
            let mut customers = vec![Customer::default(); customer_ids.len()];
            let (mut changes, mut cursor) = (Vec::new(), seen.cursor);
            for row in rows {
                let place: i64 = row.try_get(0)?;
                match usize::try_from(place - 1) {
                    Err(_) => (changes, cursor) = stock(&row)?,
                    Ok(place) => *customers.get_mut(place).ok_or(sqlx::Error::RowNotFound)? = customer(&row)?,
                }
            }
            if let Some(out_of_stock) = self.stock.add(seen, cursor, changes) {
                return Ok(Fresh { customers, out_of_stock });
            }
        }
    }

    /// Half of the connections: a question that is slow is to leave others a way.
    fn at_once(&self) -> usize {
        READERS as usize / 2
    }

    async fn record(&self, events: &[Event], within: Duration) -> Result<Vec<bool>, StoreError> {
        fn column<T>(events: &[Event], value: impl Fn(&Event) -> T) -> Vec<T> {
            events.iter().map(value).collect()
        }
        let statement = || {
            sqlx::query(RECORD)
                .bind(column(events, |event| event.event_id.clone()))
                .bind(column(events, |event| event.source.clone()))
                .bind(column(events, |event| event.customer_id.clone()))
                .bind(column(events, |event| event.visitor))
                .bind(column(events, |event| event.kind.name()))
                .bind(column(events, |event| event.article_id.clone()))
                .bind(column(events, |event| event.list_id.clone()))
                .bind(column(events, |event| event.occurred_at.to_string()))
                .bind(self.durable)
        };
        let added = self.ask(&self.writes, statement, within).await?;
        let added = added.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        Ok(super::news(events, added.collect::<Result<HashSet<_>, sqlx::Error>>()?))
    }

    async fn check(&self, within: Duration) -> Result<(), StoreError> {
        let question = || sqlx::query("SELECT version::bigint FROM hemline.schema_version");
        let rows = self.ask(&self.reads, question, within).await?;
        let found = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
        if found == SCHEMA_VERSION { Ok(()) } else { Err(StoreError::schema(found, SCHEMA_VERSION)) }
    }

    async fn expire(&self, kind: Kind, before: Timestamp, most: u32) -> Result<u64, StoreError> {
        let statement = sqlx::query(EXPIRE).bind(kind.name()).bind(before.to_string()).bind(i64::from(most));
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

    async fn changes(&self, changed: &(dyn for<'a> Fn(Option<&'a str>) + Send + Sync)) {
        // A connection of its own, of the server that is written to: a pool's would take the place of questions.
        let pool = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let pool = pool.connect_lazy_with(PgConnectOptions::clone(&self.writes.connect_options()));
        loop {
            if let Ok(mut listener) = PgListener::connect_with(&pool).await
                && listener.listen(CHANNEL).await.is_ok()
            {
                changed(None); // what was told before nobody heard
                listener.eager_reconnect(false);
                while let Ok(Some(told)) = listener.try_recv().await {
                    changed(Some(told.payload()).filter(|id| !id.is_empty()));
                }
            }
            // Nothing is said to have changed: the server is likely away, and what it said last is all there is until it is back.
            // Servers that lost the same store should not all come back at once.
            sleep(Duration::from_millis(fastrand::u64(500..2000))).await;
        }
    }
}

/// A customer of [`FRESH`].
fn customer(row: &PgRow) -> Result<Customer, sqlx::Error> {
    let done = |column: usize| {
        let articles: Vec<String> = row.try_get::<Option<_>, _>(column)?.unwrap_or_default();
        let at: Vec<i64> = row.try_get::<Option<_>, _>(column + 1)?.unwrap_or_default();
        Ok::<Vec<Done>, sqlx::Error>(at.into_iter().zip(articles).collect())
    };
    let mut customer = Customer { known: row.try_get(1)?, age: row.try_get(2)?, ..Customer::default() };
    customer.did(done(3)?, done(5)?, done(7)?);
    Ok(customer)
}

/// The last row of [`FRESH`]: the changes, and where its snapshot ends.
fn stock(row: &PgRow) -> Result<(Vec<Change>, u64), sqlx::Error> {
    let ids: Vec<String> = row.try_get::<Option<_>, _>(3)?.unwrap_or_default();
    let out: Vec<bool> = row.try_get::<Option<_>, _>(9)?.unwrap_or_default();
    let versions: Vec<i64> = row.try_get::<Option<_>, _>(10)?.unwrap_or_default();
    let changes = ids.into_iter().zip(out).zip(versions);
    let changes = changes.map(|((article_id, out_of_stock), version)| Change { article_id, out_of_stock, version });
    let xmin: String = row.try_get(11)?;
    Ok((changes.collect(), xmin.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?))
}

fn pool(options: &PgConnectOptions, connections: u32, faults: &Arc<Faults>) -> PgPool {
    let mut options = options.clone().options(SESSION).disable_statement_logging();
    if options.get_application_name().is_none() {
        options = options.application_name("hemline");
    }
    let faults = faults.clone();
    PgPoolOptions::new()
        .max_connections(connections)
        // Looking whether a connection lives would be a second round trip for each question.
        .test_before_acquire(false)
        .before_acquire(move |_, connection| {
            let is_good = faults.is_after_the_last(connection.age);
            Box::pin(std::future::ready(Ok(is_good)))
        })
        // Connections are spread anew over what stands behind one name.
        .max_lifetime(Duration::from_secs(600))
        .acquire_timeout(Duration::from_secs(10)) // a question's own deadline is earlier
        .connect_lazy_with(options)
}

/// A connection while something is asked on it. One that is given up in the middle is closed, not drained: the server then ends what it
/// does for nobody.
struct InUse(Option<PoolConnection<sqlx::Postgres>>);

impl InUse {
    async fn ask(
        &mut self,
        statement: Query<'_, sqlx::Postgres, PgArguments>,
        deadline: Instant,
    ) -> Result<Vec<PgRow>, StoreError> {
        let Some(connection) = &mut self.0 else { return Err(StoreError::slow()) };
        match timeout_at(deadline, statement.fetch_all(&mut **connection)).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(error)) => {
                let error = StoreError::from(error);
                if error.failure != Failure::Away {
                    self.give_back(); // the server answered: the connection is sound
                }
                Err(error)
            }
            Err(_) => Err(StoreError::slow()),
        }
    }

    fn give_back(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
