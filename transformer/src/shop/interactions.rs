//! `GET /v1/interactions`: what came of lists, by ranker and over time, as it is told.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
};
use catalog::{
    events::Kind,
    store::{Count, Since, Told},
};
use dataplane::{Error, Inference, Result};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    Shop,
    query::{Query, wrong},
};

/// Most buckets of an answer.
const MOST: i64 = 1_000;
/// How many of the last events are told.
const LATEST: u32 = 20;
const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The answer.
#[derive(Serialize)]
pub(super) struct Summary {
    /// Where the first bucket begins: no later than was asked for, so that it is a whole one.
    since: String,
    /// Now.
    until: String,
    bucket: &'static str,
    totals: Counts,
    /// By name.
    rankers: Vec<OfRanker>,
    /// By time and name; a bucket in which nothing was told of a ranker is not there.
    series: Vec<OfBucket>,
    /// Newest first; only where customers are told of.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<Vec<Latest>>,
}

/// How often each kind of event was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counts {
    shown: u64,
    click: u64,
    purchase: u64,
    dismiss: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct OfRanker {
    ranker: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct OfBucket {
    /// When it begins.
    at: String,
    ranker: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
struct Latest {
    /// When it was told.
    at: String,
    kind: &'static str,
    article_id: String,
    customer_id: String,
    list_id: Option<String>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    /// In seconds since 1970-01-01, at the beginning of a bucket.
    since: i64,
    bucket: &'static str,
    /// Its length in seconds.
    length: i64,
}

/// Counts what was told.
pub(super) async fn summary(
    State(shop): State<Arc<Shop>>,
    Extension(inference): Extension<Inference>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Summary>> {
    let query = Query::read(raw.as_deref(), &["since", "bucket", "ranker"])?;
    let (now, context) = (Timestamp::now(), inference.context());
    let window = Window::of(query.text("since"), query.text("bucket"), now)?;
    let recorded = Timestamp::from_second(window.since).map_err(Error::internal)?;
    let since = Since { recorded, ranker: query.id("ranker")?.map(str::to_owned) };
    let length = Duration::from_secs(window.length.unsigned_abs());
    let counts = shop.ask(context, |within| shop.store.counts(&since, length, within)).await?;
    let latest = match shop.tells_customers {
        true => Some(shop.ask(context, |within| shop.store.latest(&since, LATEST, within)).await?),
        false => None,
    };
    Ok(Json(Summary::of(&window, now, &counts, latest)))
}

impl Window {
    fn of(since: Option<&str>, bucket: Option<&str>, now: Timestamp) -> Result<Self> {
        let (bucket, length, default) = match bucket {
            Some("minute") => ("minute", MINUTE, HOUR),
            Some("hour") | None => ("hour", HOUR, DAY),
            Some("day") => ("day", DAY, DAY),
            Some(other) => return Err(wrong("bucket", "minute, hour or day", other)),
        };
        let since = match since {
            // A plus is a space in a query, as forms have it; in a time it can only be an offset's.
            Some(text) => text.replace(' ', "+").parse::<Timestamp>().map_err(|_| expected_time(text))?,
            None => now.checked_sub(SignedDuration::from_secs(default)).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        if since > now {
            return Err(Error::invalid("parameter `since`: expected a time that has been"));
        }
        let floor = |time: Timestamp| time.as_second().div_euclid(length);
        let buckets = floor(now) - floor(since) + 1;
        if buckets > MOST {
            let text =
                format!("parameter `since`: expected at most {MOST} buckets of a {bucket} since then, got {buckets}");
            return Err(Error::invalid(text));
        }
        Ok(Self { since: floor(since) * length, bucket, length })
    }
}

fn expected_time(text: &str) -> Error {
    wrong("since", "a time such as 2020-09-16T10:00:00Z", text)
}

impl Summary {
    fn of(window: &Window, now: Timestamp, counts: &[Count], latest: Option<Vec<Told>>) -> Self {
        let mut totals = Counts::default();
        let (mut rankers, mut series) = (BTreeMap::<&str, Counts>::new(), BTreeMap::<(i64, &str), Counts>::new());
        for Count { at, ranker, kind, times } in counts {
            totals.add(*kind, *times);
            rankers.entry(ranker).or_default().add(*kind, *times);
            series.entry((*at, ranker)).or_default().add(*kind, *times);
        }
        let of_ranker = |(ranker, counts): (&str, Counts)| OfRanker { ranker: ranker.to_owned(), counts };
        let of_bucket = |((at, ranker), counts): ((i64, &str), Counts)| OfBucket {
            at: second(at),
            ranker: ranker.to_owned(),
            counts,
        };
        Self {
            since: second(window.since),
            until: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            bucket: window.bucket,
            totals,
            rankers: rankers.into_iter().map(of_ranker).collect(),
            series: series.into_iter().map(of_bucket).collect(),
            latest: latest.map(|latest| latest.into_iter().map(Latest::of).collect()),
        }
    }
}

impl Counts {
    fn add(&mut self, kind: Kind, times: u64) {
        let count = match kind {
            Kind::Shown => &mut self.shown,
            Kind::Click => &mut self.click,
            Kind::Purchase => &mut self.purchase,
            Kind::Dismiss => &mut self.dismiss,
        };
        *count += times;
    }
}

impl Latest {
    fn of(told: Told) -> Self {
        let Told { at, kind, article_id, customer_id, list_id } = told;
        let at = Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH);
        let at = at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        Self { at, kind: kind.name(), article_id, customer_id, list_id }
    }
}

/// A time in seconds since 1970-01-01, as answers have it.
fn second(at: i64) -> String {
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Window;

    const NOW: &str = "2026-03-04T05:06:07.5Z";

    fn window(since: Option<&str>, bucket: Option<&str>) -> Result<(String, i64), String> {
        let window = Window::of(since, bucket, NOW.parse().unwrap()).map_err(|error| error.message().to_owned())?;
        Ok((Timestamp::from_second(window.since).unwrap().to_string(), window.length))
    }

    #[test]
    fn a_window_begins_where_its_first_bucket_does() {
        for (since, bucket, begins, length) in [
            (None, None, "2026-03-03T05:00:00Z", 3_600),
            (None, Some("minute"), "2026-03-04T04:06:00Z", 60),
            (None, Some("day"), "2026-03-03T00:00:00Z", 86_400),
            (Some("2026-03-04T05:06:07.5Z"), Some("hour"), "2026-03-04T05:00:00Z", 3_600),
            (Some("2026-03-04T03:59:59 02:00"), Some("hour"), "2026-03-04T01:00:00Z", 3_600),
            (Some("2024-01-01T00:00:00-01:00"), Some("day"), "2024-01-01T00:00:00Z", 86_400),
        ] {
            assert_eq!(window(since, bucket), Ok((begins.to_owned(), length)), "{since:?} {bucket:?}");
        }
    }

    #[test]
    fn a_window_has_at_most_a_thousand_buckets() {
        let (last, first) = ("2026-03-03T12:27:00Z", "2026-03-03T12:26:59Z"); // 1,000 minutes and 1,001
        assert!(window(Some(last), Some("minute")).is_ok());
        let refusal = window(Some(first), Some("minute")).unwrap_err();
        assert_eq!(refusal, "parameter `since`: expected at most 1000 buckets of a minute since then, got 1001");
        assert!(window(Some("-009999-01-03T00:00:00Z"), Some("day")).unwrap_err().contains("at most 1000 buckets"));
    }

    #[test]
    fn what_is_no_window_is_refused_with_what_was_expected() {
        let time = |got: &str| format!("parameter `since`: expected a time such as 2020-09-16T10:00:00Z, got `{got}`");
        for (since, bucket, refusal) in [
            (Some("yesterday"), None, time("yesterday")),
            (Some("2026-03-04"), None, time("2026-03-04")),
            (Some(""), None, time("")),
            (None, Some("week"), "parameter `bucket`: expected minute, hour or day, got `week`".to_owned()),
            (Some("2026-03-04T05:06:08Z"), None, "parameter `since`: expected a time that has been".to_owned()),
        ] {
            assert_eq!(window(since, bucket), Err(refusal), "{since:?} {bucket:?}");
        }
    }
}
