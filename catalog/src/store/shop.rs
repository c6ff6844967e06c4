//! What a shop's pages show of customers, and of what came of the lists that they were shown.

use jiff::{Timestamp, civil::Date, tz::Offset};

use crate::events::Kind;

/// Rankers whose events are counted by name: those with the most. Who tells of lists may call them what they like, and an answer must end.
pub(super) const MOST_RANKERS: i64 = 20;

/// Customers of whom those who bought last are told where nobody in particular is looked for: all there are would be a look at every
/// purchase.
pub(super) const SAMPLE: i64 = 1_000;

/// A customer as a shop lists them.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Their id.
    pub customer_id: String,
    /// In years, where it is known.
    pub age: Option<f32>,
    /// As it was loaded.
    pub club_member_status: String,
    /// How many purchases they made, loaded and told.
    pub purchases: u64,
}

/// An article that was bought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Its id.
    pub article_id: String,
    /// The day, in UTC.
    pub bought_on: Date,
}

/// One customer, and what they bought last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// Nothing for a visitor, and for whom nobody knows.
    pub profile: Option<Profile>,
    /// Newest first.
    pub purchases: Vec<Purchase>,
}

/// Which of the events that were told are asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since {
    /// Those that came from this moment on. When they came is the store's own clock, and what its index is of; when they happened, their
    /// senders say.
    pub recorded: Timestamp,
    /// Those of lists that this ranker ordered; all where it is not given.
    pub ranker: Option<String>,
}

/// How often something was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// When the time span begins in which it was, in seconds since 1970-01-01: a multiple of its length.
    pub at: i64,
    /// What stands before the last `@` of the list's id; empty without one, and for all but the most frequent rankers.
    pub ranker: String,
    /// What was told.
    pub kind: Kind,
    /// How often.
    pub times: u64,
}

/// An event as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it came, in milliseconds since 1970-01-01.
    pub at: i64,
    /// What was done.
    pub kind: Kind,
    /// With which article.
    pub article_id: String,
    /// By whom: a customer's or a visitor's id.
    pub customer_id: String,
    /// In which list.
    pub list_id: Option<String>,
}

/// Where a range of ids with this prefix ends: no text that begins with it is greater.
pub(super) fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

/// The day of a moment in milliseconds since 1970-01-01, in UTC. One that is none is an old one.
pub(super) fn day(at: i64) -> Date {
    Offset::UTC.to_datetime(Timestamp::from_millisecond(at).unwrap_or(Timestamp::UNIX_EPOCH)).date()
}

/// The kind of that name. A store has no other: it checks what is written.
pub(super) fn kind(name: &str) -> Result<Kind, sqlx::Error> {
    Kind::named(name).ok_or_else(|| sqlx::Error::Decode(format!("`{name}` is no kind of event").into()))
}
