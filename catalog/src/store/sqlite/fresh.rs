//! What must be fresh, read on the thread that asks. It lies in memory as a rule and takes some ten microseconds; to hand the question to the
//! thread that owns a connection, and the answer back, costs several times that.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};
use tokio::{task::spawn_blocking, time::timeout};

use super::BUSY_TIMEOUT;
use crate::store::{
    Customer, StoreError,
    customer::{DISMISSED, Done, TOUCHES},
    stock::Change,
};

/// Customers of a question that is answered on the caller's thread. What is asked about more is no matter of microseconds.
const FEW: usize = 8;

/// Who of many clicks and dismissals is told the last ones is told those from this one on, counted from 0.
#[allow(clippy::cast_possible_wrap)]
const CLICKS: i64 = TOUCHES as i64 - 1;
#[allow(clippy::cast_possible_wrap)]
const DISMISSALS: i64 = DISMISSED as i64 - 1;

/// Profiles, what was done, and changes of stock in one question: one moment.
const FRESH: &str = "
    WITH asked (place, customer_id) AS (SELECT key, value FROM json_each(?1)),
    last AS MATERIALIZED (
        SELECT place, customer_id,
               (SELECT occurred_at FROM interactions WHERE interactions.customer_id = asked.customer_id AND kind = 'click'
                ORDER BY occurred_at DESC LIMIT 1 OFFSET ?3) AS clicked,
               (SELECT occurred_at FROM interactions WHERE interactions.customer_id = asked.customer_id AND kind = 'dismiss'
                ORDER BY occurred_at DESC LIMIT 1 OFFSET ?4) AS dismissed
        FROM asked)
    SELECT 0 AS part, place, age, NULL AS article_id, NULL AS at
    FROM asked JOIN customers USING (customer_id)
    UNION ALL
    SELECT 1, place, NULL, article_id, 1000 * unixepoch(bought_on)
    FROM asked JOIN customers USING (customer_id) JOIN history USING (customer_key)
    UNION ALL
    SELECT 1, place, NULL, article_id, CAST(1000 * unixepoch(occurred_at, 'subsec') AS INTEGER)
    FROM asked JOIN interactions USING (customer_id) WHERE kind = 'purchase'
    UNION ALL
    SELECT 2, place, NULL, article_id, CAST(1000 * unixepoch(occurred_at, 'subsec') AS INTEGER)
    FROM last JOIN interactions USING (customer_id) WHERE kind = 'click' AND occurred_at >= coalesce(clicked, '')
    UNION ALL
    SELECT 3, place, NULL, article_id, CAST(1000 * unixepoch(occurred_at, 'subsec') AS INTEGER)
    FROM last JOIN interactions USING (customer_id) WHERE kind = 'dismiss' AND occurred_at >= coalesce(dismissed, '')
    UNION ALL
    SELECT 4 + out_of_stock, version, NULL, article_id, NULL FROM stock_changes WHERE version > ?2";

/// Connections that only read; as many as there were readers at once.
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

    /// What is known of the customers in this JSON list, of which there are so many, and how stock changed after `cursor`. A reader waits for
    /// nobody in write-ahead mode, but while the log is recovered or the file is taken for one alone: then, and where much is asked, another
    /// thread reads, and waits if it must.
    ///
    /// # Errors
    /// The file can't be read, or not within `within`.
    pub(super) async fn read(
        &self,
        ids: String,
        count: usize,
        cursor: i64,
        within: Duration,
    ) -> Result<Read, StoreError> {
        if count <= FEW {
            match self.answer(&ids, count, cursor, Duration::ZERO) {
                Err(error) if is_busy(&error) => {}
                answer => return answer.map_err(StoreError::from),
            }
        }
        let readers = self.clone();
        let patient = spawn_blocking(move || readers.answer(&ids, count, cursor, BUSY_TIMEOUT));
        match timeout(within, patient).await {
            Ok(Ok(answer)) => answer.map_err(StoreError::from),
            Ok(Err(_)) | Err(_) => Err(StoreError::slow()),
        }
    }

    fn answer(&self, ids: &str, count: usize, cursor: i64, patience: Duration) -> rusqlite::Result<Read> {
        let connection = self.connection()?;
        connection.busy_timeout(patience)?;
        let mut answer = Answer::of(count);
        {
            let mut question = connection.prepare_cached(FRESH)?;
            let mut rows = question.query(params![ids, cursor, CLICKS, DISMISSALS])?;
            while let Some(row) = rows.next()? {
                answer.read(row)?;
            }
        }
        // One that failed is not used again.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(answer.end())
    }

    fn connection(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // Who reads a write-ahead log writes into the file that is shared beside it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        idle.map_or_else(|| Connection::open_with_flags(self.path.as_path(), flags), Ok)
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The rows of [`FRESH`], gathered.
struct Answer {
    customers: Vec<Customer>,
    /// By customer: purchases, clicks and dismissals.
    done: Vec<[Vec<Done>; 3]>,
    changes: Vec<Change>,
}

impl Answer {
    fn of(customers: usize) -> Self {
        let (customers, done) = (vec![Customer::default(); customers], vec![Default::default(); customers]);
        Self { customers, done, changes: Vec::new() }
    }

    fn read(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        let (part, place): (i64, i64) = (row.get(0)?, row.get(1)?);
        if part >= 4 {
            self.changes.push(Change { article_id: row.get(3)?, out_of_stock: part == 5, version: place });
            return Ok(());
        }
        let (part, place) = (usize::try_from(part).unwrap_or_default(), usize::try_from(place).unwrap_or(usize::MAX));
        let customer = self.customers.get_mut(place).zip(self.done.get_mut(place));
        let (customer, done) = customer.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        match part.checked_sub(1).and_then(|part| done.get_mut(part)) {
            // A time that SQLite can't read is an old one.
            Some(done) => done.push((row.get::<_, Option<_>>(4)?.unwrap_or_default(), row.get(3)?)),
            None => (customer.known, customer.age) = (true, row.get(2)?),
        }
        Ok(())
    }

    fn end(mut self) -> (Vec<Customer>, Vec<Change>) {
        for (customer, [purchases, clicks, dismissals]) in self.customers.iter_mut().zip(self.done) {
            customer.did(purchases, clicks, dismissals);
        }
        (self.customers, self.changes)
    }
}
