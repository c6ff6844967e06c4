//! `GET /v1/rankers`: who ranks, who does where nobody is chosen, and whether each can be reached.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use dataplane::Result;
use serde::Serialize;

use super::{Shop, query::Query};
use crate::rankers::Table;

/// The answer.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Rankers {
    /// The one of most customers who choose none.
    active: String,
    rankers: Vec<Standing>,
}

/// One of them.
#[derive(Debug, PartialEq, Serialize)]
struct Standing {
    name: String,
    /// Whether it answers, as health tells it.
    ready: bool,
    /// How many candidates it scores at most, as far as its answers tell; null where it scored all that it was asked about.
    most: Option<usize>,
    /// The part of the customers who choose none that it ranks for, 0 to 1.
    share: f64,
}

/// Says who ranks.
pub(super) async fn all(State(shop): State<Arc<Shop>>, RawQuery(raw): RawQuery) -> Result<Json<Rankers>> {
    Query::read(raw.as_deref(), &[])?;
    let served = shop.served()?;
    let table = served.recommender()?.rankers.now();
    let health = shop.handler.readiness.dependencies();
    Ok(Json(standing(&table, |name| health.get(name).copied().unwrap_or_default())))
}

fn standing(table: &Table, is_ready: impl Fn(&str) -> bool) -> Rankers {
    let ranker = |name: &String| Standing {
        name: name.clone(),
        ready: is_ready(name),
        most: table.find(name).and_then(|ranker| ranker.most()),
        share: table.policy().share(name),
    };
    Rankers { active: table.policy().active().to_owned(), rankers: table.names().iter().map(ranker).collect() }
}
