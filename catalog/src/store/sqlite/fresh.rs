//! What must be fresh, read on the thread that asks. It lies in memory as a rule and takes some ten microseconds; to hand the question to the
//! thread that owns a connection, and the answer back, costs several times that.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use tokio::{task::spawn_blocking, time::timeout};

use super::BUSY_TIMEOUT;
use crate::{
    events::Kind,
    store::{
        Customer, StoreError,
        customer::{DISMISSED, Done, TOUCHES},
        stock::Change,
    },
};

/// Customers of a question that is answered on the caller's thread. What is asked about more is no matter of microseconds.
const FEW: usize = 8;

/// A connection's own cache. It keeps the upper pages of its trees; the system has the others, and reading one of those takes it 3 µs.
const CACHE_KIB: i32 = 512;

/// Connections that are kept.
const MOST_IDLE: usize = 8;

// A statement for each table, in one transaction: of one moment as one statement over all of them would be, and some 25 µs less.
const PROFILE: &str = "SELECT customer_key, age FROM customers WHERE customer_id = ?1";
const HISTORY: &str = "SELECT article_id, 1000 * unixepoch(bought_on) FROM history WHERE customer_key = ?1";
/// Newest first, as the index has them.
const DONE: &str = "
    SELECT article_id, CAST(1000 * unixepoch(occurred_at, 'subsec') AS INTEGER), occurred_at
    FROM interactions WHERE customer_id = ?1 AND kind = ?2 ORDER BY occurred_at DESC";
const CHANGES: &str = "SELECT version, article_id, out_of_stock FROM stock_changes WHERE version > ?1";

/// Connections that only read: those that nobody uses now.
#[derive(Clone, Debug)]
pub(super) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// By customer, and what changed in stock.
type Read = (Vec<Customer>, Vec<Change>);

impl Readers {
    /// No connection yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: Arc::new(path.to_owned()), idle: Arc::default() }
    }

    /// What is known of these customers, and how stock changed after `cursor`. A reader waits for nobody in write-ahead mode, but while the
    /// log is recovered or the file is taken for one alone: then, and where much is asked, another thread reads, and waits if it must.
    ///
    /// # Errors
    /// The file can't be read, or not within `within`.
    pub(super) async fn read(&self, ids: &[&str], cursor: i64, within: Duration) -> Result<Read, StoreError> {
        if ids.len() <= FEW {
            match self.answer(ids, cursor, Duration::ZERO) {
                Err(error) if is_busy(&error) => {}
                answer => return answer.map_err(StoreError::from),
            }
        }
        let (readers, ids) = (self.clone(), ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>());
        let patient = spawn_blocking(move || {
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            readers.answer(&ids, cursor, BUSY_TIMEOUT)
        });
        match timeout(within, patient).await {
            Ok(Ok(answer)) => answer.map_err(StoreError::from),
            Ok(Err(_)) | Err(_) => Err(StoreError::slow()),
        }
    }

    /// As of one moment.
    fn answer(&self, ids: &[&str], cursor: i64, patience: Duration) -> rusqlite::Result<Read> {
        let connection = self.connection(patience)?;
        connection.prepare_cached("BEGIN")?.execute([])?;
        let customers = ids.iter().map(|id| customer(&connection, id)).collect::<Result<_, _>>()?;
        let changes = changes(&connection, cursor)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        // One that failed is not used again.
        let mut idle = self.idle();
        if idle.len() < MOST_IDLE {
            idle.push(connection);
        }
        Ok((customers, changes))
    }

    /// One that waits so long for a lock.
    fn connection(&self, patience: Duration) -> rusqlite::Result<Connection> {
        if let Some(idle) = self.idle().pop() {
            idle.busy_timeout(patience)?;
            return Ok(idle);
        }
        // Who reads a write-ahead log writes into the file that is shared beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = Connection::open_with_flags(self.path.as_path(), flags)?;
        opened.busy_timeout(patience)?;
        opened.pragma_update(None, "cache_size", -CACHE_KIB)?;
        Ok(opened)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

fn customer(connection: &Connection, id: &str) -> rusqlite::Result<Customer> {
    let mut customer = Customer::default();
    let mut purchases = done(connection, id, Kind::Purchase, usize::MAX)?;
    let mut profile = connection.prepare_cached(PROFILE)?;
    let mut rows = profile.query([id])?;
    if let Some(row) = rows.next()? {
        (customer.known, customer.age) = (true, row.get(1)?);
        let mut history = connection.prepare_cached(HISTORY)?;
        let history = history.query_map([row.get::<_, i64>(0)?], |row| Ok((at(row)?, row.get(0)?)))?;
        purchases.extend(history.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    let (clicks, dismissals) =
        (done(connection, id, Kind::Click, TOUCHES)?, done(connection, id, Kind::Dismiss, DISMISSED)?);
    customer.did(purchases, clicks, dismissals);
    Ok(customer)
}

/// The last `most` that they did of a kind, and all that they did at the same moment as the last of those.
fn done(connection: &Connection, id: &str, kind: Kind, most: usize) -> rusqlite::Result<Vec<Done>> {
    let mut question = connection.prepare_cached(DONE)?;
    let mut rows = question.query([id, kind.name()])?;
    let (mut done, mut last) = (Vec::new(), String::new());
    while let Some(row) = rows.next()? {
        if done.len() >= most && row.get_ref(2)?.as_str()? != last {
            break;
        }
        done.push((at(row)?, row.get(0)?));
        if done.len() == most {
            last = row.get(2)?;
        }
    }
    Ok(done)
}

/// When it was; a time that SQLite can't read is an old one.
fn at(row: &Row<'_>) -> rusqlite::Result<i64> {
    Ok(row.get::<_, Option<_>>(1)?.unwrap_or_default())
}

fn changes(connection: &Connection, cursor: i64) -> rusqlite::Result<Vec<Change>> {
    let mut question = connection.prepare_cached(CHANGES)?;
    let change =
        |row: &Row<'_>| Ok(Change { version: row.get(0)?, article_id: row.get(1)?, out_of_stock: row.get(2)? });
    question.query_map([cursor], change)?.collect()
}

#[cfg(test)]
mod tests;
