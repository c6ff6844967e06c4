//! V1: rows in, rows out; or, for mixed columns, rows and ids in, scores and ids out.

use axum::Json;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Request<I> {
    instances: Vec<I>,
}

#[derive(Serialize)]
pub struct Response<P> {
    predictions: Vec<P>,
}

type Row = Vec<f32>;

pub async fn identity(Json(request): Json<Request<Row>>) -> Json<Response<Row>> {
    Json(Response { predictions: request.instances })
}

/// A row as it stands: a model would read all of it.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Columns(f32, f32, f32, String, String, String, String, String, String, String, String, String, String, String);

#[derive(Deserialize)]
pub struct Table {
    rows: Vec<Columns>,
    ids: Vec<String>,
}

#[derive(Serialize)]
pub struct Ranking {
    scores: Vec<f32>,
    ids: Vec<String>,
}

pub async fn mixed(Json(request): Json<Request<Table>>) -> Json<Response<Ranking>> {
    let rank = |table: Table| Ranking { scores: table.rows.iter().map(|row| row.0).collect(), ids: table.ids };
    Json(Response { predictions: request.instances.into_iter().map(rank).collect() })
}
