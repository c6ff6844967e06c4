//! What a shop's pages ask.

use std::time::Duration;

use sqlx::{
    Row, Sqlite as Db,
    query::Query,
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::time::timeout;

use super::{Sqlite, text};
use crate::store::{
    Account, Count, Profile, Purchase, Since, StoreError, Told,
    shop::{MOST_RANKERS, SAMPLE, day, end_of, kind},
};

/// A range of the index of ids, by bytes: no pattern, so nothing to escape.
const CUSTOMERS: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM history WHERE history.customer_key = customers.customer_key)
           + (SELECT count(*) FROM interactions WHERE interactions.customer_id = customers.customer_id AND kind = 'purchase')
    FROM customers WHERE customer_id >= ?1 AND customer_id < ?2 ORDER BY customer_id LIMIT ?3";

/// A day sorts before the moments in it, so texts of both tell which is later.
const RECENT: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM history WHERE history.customer_key = recent.customer_key)
           + (SELECT count(*) FROM interactions WHERE interactions.customer_id = recent.customer_id AND kind = 'purchase')
    FROM (SELECT customer_key, customer_id, age, club_member_status,
                 max(coalesce((SELECT max(bought_on) FROM history WHERE history.customer_key = sampled.customer_key), ''),
                     coalesce((SELECT max(occurred_at) FROM interactions
                               WHERE interactions.customer_id = sampled.customer_id AND kind = 'purchase'), '')) AS last
          FROM (SELECT * FROM customers ORDER BY customer_id LIMIT ?1) AS sampled
          ORDER BY last DESC, customer_id LIMIT ?2) AS recent
    ORDER BY last DESC, customer_id";

/// A row of their own where they are known, and one for each of the last purchases.
const ACCOUNT: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM history WHERE history.customer_key = customers.customer_key)
           + (SELECT count(*) FROM interactions WHERE interactions.customer_id = customers.customer_id AND kind = 'purchase'),
           NULL AS article_id, NULL AS at
    FROM customers WHERE customer_id = ?1
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, article_id, at FROM (
        SELECT article_id, 1000 * unixepoch(bought_on) AS at
        FROM customers JOIN history USING (customer_key) WHERE customer_id = ?1
        UNION ALL
        SELECT article_id, CAST(1000 * unixepoch(occurred_at, 'subsec') AS INTEGER)
        FROM interactions WHERE customer_id = ?1 AND kind = 'purchase'
        ORDER BY 2 DESC, 1 LIMIT ?2)";

/// What stands before the last `@` of `list_id`: everything up to it is what is left where all that is no `@` is cut off its end.
macro_rules! ranker {
    () => {
        "coalesce(substr(rtrim(list_id, replace(list_id, '@', '')), 1, length(rtrim(list_id, replace(list_id, '@', ''))) - 1), '')"
    };
}

/// One range of the index by age. Events are gathered by what their lists' ids have before a digest of 16 digits, of which there are few:
/// to look for the last `@` in each would take most of the time.
const COUNTS: &str = concat!(
    "WITH told AS MATERIALIZED (
        SELECT unixepoch(recorded_at) / ?3 * ?3 AS at, kind, count(*) AS times,
               CASE WHEN substr(list_id, -17, 1) = '/' AND instr(substr(list_id, -16), '@') = 0
                    THEN substr(list_id, 1, length(list_id) - 17) ELSE list_id END AS list_id
        FROM interactions WHERE recorded_at >= ?1 GROUP BY 1, 2, 4),
    ranked AS MATERIALIZED (SELECT at, ",
    ranker!(),
    " AS ranker, kind, times FROM told WHERE at IS NOT NULL),
    named AS (SELECT ranker FROM ranked GROUP BY ranker ORDER BY sum(times) DESC, ranker LIMIT ?4)
    SELECT at, iif(ranker IN (SELECT ranker FROM named), ranker, ''), kind, sum(times)
    FROM ranked WHERE ?2 IS NULL OR ranker = ?2 GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
);

/// The end of the index by age.
const LATEST: &str = concat!(
    "SELECT CAST(1000 * unixepoch(recorded_at, 'subsec') AS INTEGER), kind, article_id, customer_id, list_id
    FROM interactions WHERE recorded_at >= ?1
    AND (?2 IS NULL OR (instr(coalesce(list_id, ''), ?2) = 1 AND ",
    ranker!(),
    " = ?2)) ORDER BY recorded_at DESC, rowid DESC LIMIT ?3"
);

impl Sqlite {
    /// [`super::Store::customers`]
    pub(super) async fn find_customers(
        &self,
        prefix: &str,
        most: u32,
        within: Duration,
    ) -> Result<Vec<Profile>, StoreError> {
        let question = match prefix {
            "" => sqlx::query(RECENT).bind(SAMPLE),
            prefix => sqlx::query(CUSTOMERS).bind(prefix).bind(end_of(prefix)),
        };
        let rows = self.ask(question.bind(most), within).await?;
        Ok(rows.iter().map(profile).collect::<Result<_, _>>()?)
    }

    /// [`super::Store::account`]
    pub(super) async fn read_account(
        &self,
        customer_id: &str,
        most: u32,
        within: Duration,
    ) -> Result<Account, StoreError> {
        let mut account = Account::default();
        for row in self.ask(sqlx::query(ACCOUNT).bind(customer_id).bind(most), within).await? {
            match row.try_get::<Option<String>, _>(4)? {
                Some(article_id) => {
                    let at = row.try_get::<Option<_>, _>(5)?.unwrap_or_default();
                    account.purchases.push(Purchase { article_id, bought_on: day(at) });
                }
                None => account.profile = Some(profile(&row)?),
            }
        }
        Ok(account)
    }

    /// [`super::Store::counts`]
    pub(super) async fn count(
        &self,
        since: &Since,
        span: Duration,
        within: Duration,
    ) -> Result<Vec<Count>, StoreError> {
        let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX).max(1);
        let question = sqlx::query(COUNTS).bind(text(since.recorded)).bind(&since.ranker);
        let rows = self.ask(question.bind(seconds).bind(MOST_RANKERS), within).await?;
        let count = |row: &SqliteRow| {
            let times = u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default();
            Ok(Count { at: row.try_get(0)?, ranker: row.try_get(1)?, kind: kind(row.try_get(2)?)?, times })
        };
        Ok(rows.iter().map(count).collect::<Result<_, sqlx::Error>>()?)
    }

    /// [`super::Store::latest`]
    pub(super) async fn read_latest(
        &self,
        since: &Since,
        most: u32,
        within: Duration,
    ) -> Result<Vec<Told>, StoreError> {
        let question = sqlx::query(LATEST).bind(text(since.recorded)).bind(&since.ranker).bind(most);
        let rows = self.ask(question, within).await?;
        let told = |row: &SqliteRow| {
            Ok(Told {
                at: row.try_get::<Option<_>, _>(0)?.unwrap_or_default(),
                kind: kind(row.try_get(1)?)?,
                article_id: row.try_get(2)?,
                customer_id: row.try_get(3)?,
                list_id: row.try_get(4)?,
            })
        };
        Ok(rows.iter().map(told).collect::<Result<_, sqlx::Error>>()?)
    }

    async fn ask(
        &self,
        question: Query<'_, Db, SqliteArguments>,
        within: Duration,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        Ok(timeout(within, question.fetch_all(&self.reads)).await.map_err(|_| StoreError::slow())??)
    }
}

fn profile(row: &SqliteRow) -> Result<Profile, sqlx::Error> {
    Ok(Profile {
        customer_id: row.try_get(0)?,
        age: row.try_get(1)?,
        club_member_status: row.try_get(2)?,
        purchases: u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default(),
    })
}
