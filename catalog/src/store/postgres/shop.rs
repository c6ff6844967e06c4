//! What a shop's pages ask.

use std::time::Duration;

use sqlx::{Row, postgres::PgRow};

use super::Postgres;
use crate::store::{
    Account, Count, Profile, Purchase, Since, StoreError, Told,
    shop::{MOST_RANKERS, SAMPLE, day, end_of, kind},
};

/// A range of the index of ids, by bytes: no pattern, so nothing to escape.
const CUSTOMERS: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM hemline.history WHERE history.customer_key = customers.customer_key)
           + (SELECT count(*) FROM hemline.interactions
              WHERE interactions.customer_id = customers.customer_id AND kind = 'purchase')
    FROM hemline.customers WHERE customer_id >= $1 COLLATE \"C\" AND customer_id < $2 COLLATE \"C\"
    ORDER BY customer_id LIMIT $3";

const RECENT: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM hemline.history WHERE history.customer_key = recent.customer_key)
           + (SELECT count(*) FROM hemline.interactions
              WHERE interactions.customer_id = recent.customer_id AND kind = 'purchase')
    FROM (SELECT sampled.*,
                 greatest((SELECT max(bought_on)::timestamp AT TIME ZONE 'UTC'
                           FROM hemline.history WHERE history.customer_key = sampled.customer_key),
                          (SELECT max(occurred_at)
                           FROM hemline.interactions
                           WHERE interactions.customer_id = sampled.customer_id AND kind = 'purchase')) AS last
          FROM (SELECT * FROM hemline.customers ORDER BY customer_id LIMIT $1) AS sampled
          ORDER BY last DESC NULLS LAST, customer_id LIMIT $2) AS recent
    ORDER BY last DESC NULLS LAST, customer_id";

/// A row of their own where they are known, and one for each of the last purchases.
const ACCOUNT: &str = "
    SELECT customer_id, age, club_member_status,
           (SELECT count(*) FROM hemline.history WHERE history.customer_key = customers.customer_key)
           + (SELECT count(*) FROM hemline.interactions
              WHERE interactions.customer_id = customers.customer_id AND kind = 'purchase'),
           NULL::text, NULL::bigint
    FROM hemline.customers WHERE customer_id = $1 COLLATE \"C\"
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, article_id, (extract(epoch FROM at) * 1000)::bigint FROM (
        SELECT article_id, bought_on::timestamp AT TIME ZONE 'UTC' AS at
        FROM hemline.customers JOIN hemline.history USING (customer_key) WHERE customer_id = $1 COLLATE \"C\"
        UNION ALL
        SELECT article_id, occurred_at
        FROM hemline.interactions WHERE customer_id = $1 COLLATE \"C\" AND kind = 'purchase'
        ORDER BY 2 DESC, 1 LIMIT $2) AS bought";

/// What stands before the last `@` of `list_id`.
macro_rules! ranker {
    () => {
        "CASE WHEN list_id LIKE '%@%' THEN left(list_id, length(list_id) - strpos(reverse(list_id), '@')) ELSE '' END"
    };
}

/// The pages that the index by age names.
const COUNTS: &str = concat!(
    "WITH told AS MATERIALIZED (
        SELECT floor(extract(epoch FROM recorded_at) / $3)::bigint * $3 AS at, ",
    ranker!(),
    " AS ranker, kind, count(*) AS times
        FROM hemline.interactions
        WHERE recorded_at >= $1::text::timestamptz AND ($2::text IS NULL OR ",
    ranker!(),
    " = $2) GROUP BY 1, 2, 3),
    named AS (SELECT ranker FROM told GROUP BY ranker ORDER BY sum(times) DESC, ranker LIMIT $4)
    SELECT at, CASE WHEN ranker IN (SELECT ranker FROM named) THEN ranker ELSE '' END, kind, sum(times)::bigint
    FROM told GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
);

const LATEST: &str = concat!(
    "SELECT (extract(epoch FROM recorded_at) * 1000)::bigint, kind, article_id, customer_id, list_id
    FROM hemline.interactions
    WHERE recorded_at >= $1::text::timestamptz AND ($2::text IS NULL OR ",
    ranker!(),
    " = $2) ORDER BY recorded_at DESC, source, event_id LIMIT $3"
);

impl Postgres {
    /// [`super::Store::customers`]
    pub(super) async fn find_customers(
        &self,
        prefix: &str,
        most: u32,
        within: Duration,
    ) -> Result<Vec<Profile>, StoreError> {
        let question = || match prefix {
            "" => sqlx::query(RECENT).bind(SAMPLE).bind(i64::from(most)),
            prefix => sqlx::query(CUSTOMERS).bind(prefix).bind(end_of(prefix)).bind(i64::from(most)),
        };
        let rows = self.ask(&self.reads, question, within).await?;
        Ok(rows.iter().map(profile).collect::<Result<_, _>>()?)
    }

    /// [`super::Store::account`]
    pub(super) async fn read_account(
        &self,
        customer_id: &str,
        most: u32,
        within: Duration,
    ) -> Result<Account, StoreError> {
        let question = || sqlx::query(ACCOUNT).bind(customer_id).bind(i64::from(most));
        let mut account = Account::default();
        for row in self.ask(&self.reads, question, within).await? {
            match row.try_get::<Option<String>, _>(4)? {
                Some(article_id) => {
                    account.purchases.push(Purchase { article_id, bought_on: day(row.try_get(5)?) });
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
        let question = || {
            let question = sqlx::query(COUNTS).bind(since.recorded.to_string()).bind(&since.ranker);
            question.bind(seconds).bind(MOST_RANKERS)
        };
        let rows = self.ask(&self.reads, question, within).await?;
        let count = |row: &PgRow| {
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
        let question =
            || sqlx::query(LATEST).bind(since.recorded.to_string()).bind(&since.ranker).bind(i64::from(most));
        let rows = self.ask(&self.reads, question, within).await?;
        let told = |row: &PgRow| {
            Ok(Told {
                at: row.try_get(0)?,
                kind: kind(row.try_get(1)?)?,
                article_id: row.try_get(2)?,
                customer_id: row.try_get(3)?,
                list_id: row.try_get(4)?,
            })
        };
        Ok(rows.iter().map(told).collect::<Result<_, sqlx::Error>>()?)
    }
}

fn profile(row: &PgRow) -> Result<Profile, sqlx::Error> {
    Ok(Profile {
        customer_id: row.try_get(0)?,
        age: row.try_get(1)?,
        club_member_status: row.try_get(2)?,
        purchases: u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default(),
    })
}
