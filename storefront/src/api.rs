//! What the page asks: recommendations, explanations and searches with what their articles are, in one round trip each; the rest as the
//! transformer says it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    failure::Failure,
    request::{JsonBody, Members, RequestId},
    shop::Shop,
    stylist,
    upstream::Answer,
};

/// Most articles that the transformer tells of at once.
const MOST_ARTICLES: usize = 200;

/// What is known of articles, by id, as the transformer says it.
pub(crate) type Articles = BTreeMap<String, Box<RawValue>>;

type Result<T = Response, E = Failure> = std::result::Result<T, E>;
type Shared = State<Arc<Shop>>;
type Id = Extension<RequestId>;

/// The paths below /api.
pub(crate) fn routes() -> Router<Arc<Shop>> {
    Router::new()
        .route("/api/config", get(config))
        .route("/api/recommendations", post(recommendations))
        .route("/api/explain", post(explain))
        .route("/api/search", post(search))
        .route("/api/stylist", post(stylist::stylist))
        .route("/api/events", post(events))
        .route("/api/customers", get(customers))
        .route("/api/customers/{id}", get(customer))
        .route("/api/interactions", get(interactions))
        .route("/api/rankers", get(rankers))
        .route("/api/articles", get(told_articles))
}

/// What the page must know before it shows anything.
async fn config(State(shop): Shared, Extension(id): Id) -> Result {
    #[derive(Serialize)]
    struct Config<'a> {
        model: &'a str,
        stylist: bool,
        images: Option<&'a str>,
        rankers: Box<RawValue>,
        last_day: Option<&'a str>,
    }
    let ready = ["v2", "models", &shop.stylist, "ready"];
    let (rankers, stylist) =
        tokio::join!(shop.upstream.get(&["v1", "rankers"], None, &id), shop.upstream.get(&ready, None, &id));
    // A model that is not there, or not ready, is a page without it; a transformer that is away is told by the other question.
    json(&Config {
        model: &shop.model,
        stylist: stylist.is_ok(),
        images: shop.images.template(),
        rankers: rankers?.read()?,
        last_day: shop.today.as_deref(),
    })
}

async fn recommendations(State(shop): Shared, Extension(id): Id, body: JsonBody) -> Result {
    predicted(&shop, &shop.model, &id, &body).await
}

async fn search(State(shop): Shared, Extension(id): Id, body: JsonBody) -> Result {
    // The model also takes a `request`, for which it asks an LLM: that is another path.
    if !body.members()?.contains_key("query") {
        return Err(Failure::invalid("field `query`: missing, expected text"));
    }
    predicted(&shop, &shop.stylist, &id, &body).await
}

/// One instance's prediction by `model`, and its articles.
async fn predicted(shop: &Shop, model: &str, id: &RequestId, body: &JsonBody) -> Result {
    #[derive(Deserialize)]
    struct Predictions {
        predictions: [Box<RawValue>; 1],
    }
    #[derive(Deserialize)]
    struct Prediction {
        ranking: Vec<(f64, String)>,
    }
    #[derive(Serialize)]
    struct Page<'a> {
        prediction: &'a RawValue,
        articles: Articles,
        server_timing: Option<&'a str>,
    }
    let answer = asked(shop, &format!("{model}:predict"), id, body).await?;
    let Predictions { predictions: [prediction] } = answer.read()?;
    let ranking = serde_json::from_str::<Prediction>(prediction.get()).map_err(|_| Failure::unreadable())?.ranking;
    let articles = articles(shop, ranking.into_iter().map(|(_, article)| article), id).await?;
    json(&Page { prediction: &prediction, articles, server_timing: answer.server_timing() })
}

async fn explain(State(shop): Shared, Extension(id): Id, body: JsonBody) -> Result {
    #[derive(Deserialize)]
    struct Explanations {
        explanations: [Box<RawValue>; 1],
    }
    #[derive(Serialize)]
    struct Page<'a> {
        explanation: &'a RawValue,
        articles: Articles,
        server_timing: Option<&'a str>,
    }
    let answer = asked(&shop, &format!("{}:explain", shop.model), &id, &body).await?;
    let Explanations { explanations: [explanation] } = answer.read()?;
    let mut named = BTreeSet::new();
    let tree = serde_json::from_str(explanation.get()).map_err(|_| Failure::unreadable())?;
    article_ids(&tree, &mut named);
    let articles = articles(&shop, named, &id).await?;
    json(&Page { explanation: &explanation, articles, server_timing: answer.server_timing() })
}

/// The answer to the one instance that the body is, of a model's V1 verb.
async fn asked(shop: &Shop, verb: &str, id: &RequestId, body: &JsonBody) -> Result<Answer> {
    #[derive(Serialize)]
    struct Instances<'a> {
        instances: [&'a Members; 1],
    }
    let body = encoded(&Instances { instances: [&body.members()?] })?;
    shop.upstream.post(&["v1", "models", verb], body, id).await
}

/// Every article that an explanation names.
fn article_ids(explanation: &Value, named: &mut BTreeSet<String>) {
    match explanation {
        Value::Array(values) => values.iter().for_each(|value| article_ids(value, named)),
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "article_id" => {
                named.insert(text.clone());
            }
            _ => article_ids(value, named),
        }),
        _ => {}
    }
}

/// What the articles of these ids are. Those that the transformer does not know are left out.
pub(crate) async fn articles(shop: &Shop, ids: impl IntoIterator<Item = String>, id: &RequestId) -> Result<Articles> {
    #[derive(Deserialize)]
    struct Told {
        articles: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Named {
        article_id: String,
    }
    let ids: Vec<_> = ids.into_iter().collect();
    let mut articles = Articles::new();
    for some in ids.chunks(MOST_ARTICLES) {
        let asked = shop.upstream.get_with(&["v1", "articles"], ("ids", &some.join(",")), id).await?;
        let told: Told = asked.read()?;
        for article in told.articles {
            let Named { article_id } = serde_json::from_str(article.get()).map_err(|_| Failure::unreadable())?;
            articles.insert(article_id, article);
        }
    }
    Ok(articles)
}

async fn events(State(shop): Shared, Extension(id): Id, JsonBody(body): JsonBody) -> Result {
    passed(shop.upstream.post(&["v1", "events"], body, &id).await?)
}

async fn told_articles(State(shop): Shared, Extension(id): Id, RawQuery(query): RawQuery) -> Result {
    passed(shop.upstream.get(&["v1", "articles"], query.as_deref(), &id).await?)
}

async fn customers(State(shop): Shared, Extension(id): Id, RawQuery(query): RawQuery) -> Result {
    passed(shop.upstream.get(&["v1", "customers"], query.as_deref(), &id).await?)
}

async fn customer(State(shop): Shared, Extension(id): Id, Path(customer): Path<String>) -> Result {
    // A segment of dots would be a step upwards.
    if matches!(customer.as_str(), "." | "..") {
        return Err(Failure::not_found("customer"));
    }
    passed(shop.upstream.get(&["v1", "customers", &customer], None, &id).await?)
}

async fn interactions(State(shop): Shared, Extension(id): Id, RawQuery(query): RawQuery) -> Result {
    passed(shop.upstream.get(&["v1", "interactions"], query.as_deref(), &id).await?)
}

async fn rankers(State(shop): Shared, Extension(id): Id) -> Result {
    passed(shop.upstream.get(&["v1", "rankers"], None, &id).await?)
}

/// The transformer's answer, as it is.
#[allow(clippy::unnecessary_wraps)] // every handler ends with one of these
fn passed(answer: Answer) -> Result {
    Ok((answer.status, [(CONTENT_TYPE, "application/json")], Body::from(answer.body)).into_response())
}

fn json(value: &impl Serialize) -> Result {
    Ok((StatusCode::OK, [(CONTENT_TYPE, "application/json")], encoded(value)?).into_response())
}

/// As JSON. What is written here always has a form in it.
pub(crate) fn encoded(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer can't be written");
        Failure::unreadable()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::article_ids;

    #[test]
    fn an_explanations_articles_are_found_wherever_it_names_them() {
        let explanation = json!({
            "ranker": "ranking",
            "articles": [{"article_id": "01", "features": {"age": 31.0}}, {"article_id": "02"}],
            "article": {"article_id": "03", "step": "filter"},
            "candidates": [{"article_id": "02", "score": null}, {"article_id": 4}],
        });
        let mut named = BTreeSet::new();
        article_ids(&explanation, &mut named);
        assert_eq!(named, ["01", "02", "03"].map(str::to_owned).into());
    }
}
