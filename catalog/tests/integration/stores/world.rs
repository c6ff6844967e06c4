//! A store with two customers, and somebody else who writes to it.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use catalog::store::{self, Store, StoreError, StoreUrl};
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

const SQLITE: [&str; 2] = [
    include_str!("../../../migrations/sqlite/0001_initial.sql"),
    include_str!("../../../migrations/sqlite/0002_events_and_stock.sql"),
];
const POSTGRES: [&str; 1] = [include_str!("../../../migrations/postgres/0001_initial.sql")];

const CONTENT: &str = "
    INSERT INTO hemline.customers (customer_id, age, club_member_status, fashion_news_frequency)
    VALUES ('anna', 41.5, 'ACTIVE', 'NONE'), ('bob', NULL, 'ACTIVE', 'NONE');
    INSERT INTO hemline.history (customer_key, article_id, bought_on)
    SELECT customer_key, '0108775015', '2020-09-01' FROM hemline.customers WHERE customer_id = 'anna';
    INSERT INTO hemline.history (customer_key, article_id, bought_on)
    SELECT customer_key, '0108775022', '2020-09-02' FROM hemline.customers WHERE customer_id = 'anna';";

/// A store under test.
pub(super) struct World {
    pub(super) url: String,
    pub(super) writer: Writer,
    _dir: Option<TempDir>,
}

/// Another process's connection.
pub(super) enum Writer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl World {
    pub(super) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("store.db").display());
        let connection = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.unwrap();
        let mut world = Self { url, writer: Writer::Sqlite(connection), _dir: Some(dir) };
        world.execute("PRAGMA journal_mode = wal").await;
        for migration in SQLITE {
            world.execute(migration).await;
        }
        world.set_version(i64::try_from(SQLITE.len()).unwrap()).await;
        world.execute(CONTENT).await;
        world
    }

    /// In a database of its own.
    pub(super) async fn postgres() -> Self {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = env::var("HEMLINE_TEST_POSTGRES")
            .expect("HEMLINE_TEST_POSTGRES: run `make test-rust`, which starts a PostgreSQL");
        let (number, process) = (DATABASES.fetch_add(1, Ordering::Relaxed), std::process::id());
        let database = format!("store_{process}_{number}");
        let mut admin = PgConnection::connect(&server).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}"))).execute(&mut admin).await.unwrap();
        let (address, _) = server.rsplit_once('/').unwrap();
        let url = format!("{address}/{database}");
        let mut world = Self::postgres_at(url).await;
        world.execute("CREATE SCHEMA hemline").await;
        for migration in POSTGRES {
            world.execute(migration).await;
        }
        world.set_version(i64::try_from(POSTGRES.len()).unwrap()).await;
        world.execute(CONTENT).await;
        world
    }

    pub(super) async fn postgres_at(url: String) -> Self {
        let connection = PgConnection::connect(&url).await.unwrap();
        Self { url, writer: Writer::Postgres(connection), _dir: None }
    }

    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.writer, Writer::Sqlite(_))
    }

    pub(super) async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        store::open(&self.url(), None).await
    }

    pub(super) fn url(&self) -> StoreUrl {
        self.url.parse().unwrap()
    }

    /// Statements as PostgreSQL has them; SQLite has no schemas.
    pub(super) async fn execute(&mut self, sql: &str) {
        let plain = AssertSqlSafe(sql.replace("hemline.", ""));
        let done = match &mut self.writer {
            Writer::Sqlite(connection) => sqlx::raw_sql(plain).execute(connection).await.map(|_| ()),
            Writer::Postgres(connection) => {
                sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.map(|_| ())
            }
        };
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Says that the schema is another; the version that was set.
    pub(super) async fn set_version(&mut self, version: i64) -> i64 {
        let sql = match self.writer {
            Writer::Sqlite(_) => format!("PRAGMA user_version = {version}"),
            Writer::Postgres(_) => format!("UPDATE hemline.schema_version SET version = {version}"),
        };
        self.execute(&sql).await;
        version
    }
}
