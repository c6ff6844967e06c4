//! `GET /v1/customers?search=PREFIX` and `/v1/customers/{id}`: who there is, and what they bought. Off unless a flag turns it on: it lists
//! people.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
};
use catalog::store::{Account, Profile};
use dataplane::{Error, Inference, Kind, Result};
use serde::Serialize;
use serde_json::Value;

use super::{
    Shop,
    query::{Query, check_id, check_text},
};
use crate::explain::widened;

/// Most customers of an answer, and how many where the request does not say.
const MOST: u32 = 100;
const DEFAULT: u32 = 20;
/// How many of a customer's purchases are told.
const PURCHASES: u32 = 50;

/// Customers, by id; those who bought last first where nobody in particular is looked for.
#[derive(Serialize)]
pub(super) struct Found {
    customers: Vec<Customer>,
}

/// One of them.
#[derive(Serialize)]
struct Customer {
    customer_id: String,
    /// In years; null where nobody knows it.
    age: Value,
    club_member_status: String,
    /// How many they made.
    purchases: u64,
}

/// One customer or visitor, whether or not the store has a row of them.
#[derive(Serialize)]
pub(super) struct Whole {
    customer_id: String,
    known: bool,
    age: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    club_member_status: Option<String>,
    /// Newest first, [`PURCHASES`] at most.
    purchases: Vec<Purchase>,
}

/// What they bought.
#[derive(Serialize)]
struct Purchase {
    article_id: String,
    /// The day, in UTC.
    bought_on: String,
}

/// Finds customers.
pub(super) async fn search(
    State(shop): State<Arc<Shop>>,
    Extension(inference): Extension<Inference>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Found>> {
    shop.check_tells_customers()?;
    let query = Query::read(raw.as_deref(), &["search", "limit"])?;
    let (prefix, most) = (query.id("search")?.unwrap_or_default(), query.number("limit", 1..=MOST, DEFAULT)?);
    let found = shop.ask(inference.context(), |within| shop.store.customers(prefix, most, within)).await?;
    Ok(Json(Found { customers: found.into_iter().map(Customer::of).collect() }))
}

/// Says who a customer is.
pub(super) async fn one(
    State(shop): State<Arc<Shop>>,
    Extension(inference): Extension<Inference>,
    path: Result<Path<String>, PathRejection>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Whole>> {
    shop.check_tells_customers()?;
    Query::read(raw.as_deref(), &[])?;
    let Path(customer_id) = path.map_err(|error| Error::new(Kind::UnknownRoute, "no such path").with_detail(error))?;
    check_text("customer_id", &customer_id)?;
    check_id("customer_id", &customer_id)?;
    let account = shop.ask(inference.context(), |within| shop.store.account(&customer_id, PURCHASES, within)).await?;
    Ok(Json(Whole::of(customer_id, account)))
}

impl Customer {
    fn of(profile: Profile) -> Self {
        let Profile { customer_id, age, club_member_status, purchases } = profile;
        Self { customer_id, age: years(age), club_member_status, purchases }
    }
}

impl Whole {
    fn of(customer_id: String, account: Account) -> Self {
        let purchases = account.purchases.into_iter();
        Self {
            customer_id,
            known: account.profile.is_some(),
            age: years(account.profile.as_ref().and_then(|profile| profile.age)),
            club_member_status: account.profile.map(|profile| profile.club_member_status),
            purchases: purchases
                .map(|bought| Purchase { article_id: bought.article_id, bought_on: bought.bought_on.to_string() })
                .collect(),
        }
    }
}

fn years(age: Option<f32>) -> Value {
    age.map_or(Value::Null, |age| widened(age).into())
}
