//! SQLite: the embedded default, for one machine. Several processes share it through its write-ahead log.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Row, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Customer, Order, Store, StoreError};

/// How many migrations stand in `catalog/migrations/sqlite/`; SQLite's `user_version` counts those that were applied.
const SCHEMA_VERSION: i64 = 1;

/// A profile row, then a row a purchase, in one question: one moment, one hop to the thread that owns the connection.
const CUSTOMER: &str = "
    SELECT 1 AS profile, age, NULL AS article_id FROM customers WHERE customer_id = ?1
    UNION ALL
    SELECT 0, NULL, article_id FROM interactions WHERE customer_id = ?1 AND kind = 'purchase'";

/// The same with the purchases in their order. What is sorted is one customer's.
const CUSTOMER_NEWEST_FIRST: &str = "
    SELECT 1 AS profile, age, NULL AS article_id, NULL AS last_bought FROM customers WHERE customer_id = ?1
    UNION ALL
    SELECT 0, NULL, article_id, max(occurred_at) FROM interactions WHERE customer_id = ?1 AND kind = 'purchase'
    GROUP BY article_id
    ORDER BY last_bought DESC, article_id";

/// A SQLite file.
#[derive(Clone, Debug)]
pub struct Sqlite {
    pool: SqlitePool,
}

impl Sqlite {
    /// Opens an existing file and checks its schema.
    ///
    /// # Errors
    /// There is no such file, it can't be opened, or its schema is another version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: sqlx::Error| StoreError::Open(format!("{}: {error}", path.display()));
        if !path.is_file() {
            return Err(StoreError::Open(format!("{}: no such file; `hemline load` makes it", path.display())));
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(2));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(2))
            .connect_with(options)
            .await
            .map_err(failed)?;
        let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await.map_err(failed)?;
        if found == SCHEMA_VERSION {
            return Ok(Self { pool });
        }
        Err(StoreError::Schema { found, wanted: SCHEMA_VERSION })
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn customer(&self, customer_id: &str, order: Order) -> Result<Customer, StoreError> {
        let question = match order {
            Order::Any => CUSTOMER,
            Order::NewestFirst => CUSTOMER_NEWEST_FIRST,
        };
        let rows = sqlx::query(question).bind(customer_id).fetch_all(&self.pool).await?;
        let mut customer = Customer::default();
        for row in rows {
            if row.try_get::<i64, _>(0)? == 1 {
                customer.known = true;
                customer.age = row.try_get::<Option<f32>, _>(1)?;
            } else {
                customer.purchased.push(row.try_get(2)?);
            }
        }
        Ok(customer)
    }
}
