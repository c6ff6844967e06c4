//! `GET /v1/articles?ids=a,b,c`: what an article is, as the bundle says that is served now, and whether it can be had.

use std::{collections::HashSet, sync::Arc};

use axum::{
    Extension, Json,
    extract::{RawQuery, State},
};
use catalog::{articles::Articles, store::OutOfStock};
use dataplane::{Error, Inference, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Shop,
    query::{LONGEST, Query},
};
use crate::explain::widened;

/// Most ids of a request.
const MOST: usize = 200;
/// Columns of texts that are told, where the bundle has them.
const TEXTS: [&str; 14] = [
    "article_id",
    "prod_name",
    "detail_desc",
    "product_type_name",
    "product_group_name",
    "colour_group_name",
    "perceived_colour_master_name",
    "perceived_colour_value_name",
    "graphical_appearance_name",
    "department_name",
    "section_name",
    "index_group_name",
    "garment_group_name",
    "image",
];
const PRICE: &str = "price";
const IN_STOCK: &str = "in_stock";

/// The answer.
#[derive(Serialize)]
pub(super) struct Answer {
    /// Those that there are, in the order asked for.
    articles: Vec<Map<String, Value>>,
    /// The ids that the bundle does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

/// Says what these articles are.
pub(super) async fn some(
    State(shop): State<Arc<Shop>>,
    Extension(inference): Extension<Inference>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Answer>> {
    let query = Query::read(raw.as_deref(), &["ids"])?;
    let ids = ids(query.text("ids").unwrap_or_default())?;
    let served = shop.served()?;
    let articles = &served.recommender()?.retrieval.articles;
    let known = shop.facts.of(&[], inference.context()).await?;
    let mut answer = Answer { articles: Vec::with_capacity(ids.len()), unknown: Vec::new() };
    for id in ids {
        match articles.row(id) {
            Some(row) => answer.articles.push(article(articles, row, &known.out_of_stock)),
            None => answer.unknown.push(id.to_owned()),
        }
    }
    Ok(Json(answer))
}

/// Ids between commas, each once.
fn ids(text: &str) -> Result<Vec<&str>> {
    let mut seen = HashSet::new();
    let ids: Vec<_> = text.split(',').filter(|id| seen.insert(*id)).collect();
    if text.is_empty() || ids.len() > MOST {
        let got = if text.is_empty() { 0 } else { ids.len() };
        return Err(Error::invalid(format!(
            "parameter `ids`: expected 1 to {MOST} ids with commas between them, got {got}"
        )));
    }
    match ids.iter().find(|id| !(1..=LONGEST).contains(&id.chars().count())) {
        Some(_) => Err(Error::invalid(format!("parameter `ids`: expected ids of 1 to {LONGEST} characters"))),
        None => Ok(ids),
    }
}

fn article(articles: &Articles, row: u32, out_of_stock: &OutOfStock) -> Map<String, Value> {
    let text = |name: &str| Some((name.to_owned(), articles.text(name, row)?.into()));
    let mut article: Map<_, _> = TEXTS.into_iter().filter_map(text).collect();
    if let Some(prices) = articles.numbers(PRICE) {
        // What nobody bought has no price, which is no number.
        let price = prices.get(row as usize).filter(|price| price.is_finite());
        article.insert(PRICE.to_owned(), price.map_or(Value::Null, |price| widened(*price).into()));
    }
    article.insert(IN_STOCK.to_owned(), (!out_of_stock.articles.contains(articles.id(row))).into());
    article
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn ids_stand_between_commas_and_count_once() {
        assert_eq!(ids("b,a,b,c").unwrap(), ["b", "a", "c"]);
        assert_eq!(ids("'; DROP,✂").unwrap(), ["'; DROP", "✂"]);
    }

    #[test]
    fn too_many_too_few_or_too_long_are_refused_with_how_many_may_be() {
        let many = |count: usize| (0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(ids(&many(200)).unwrap().len(), 200);
        let expected = "parameter `ids`: expected 1 to 200 ids with commas between them, got";
        assert_eq!(ids(&many(201)).unwrap_err().message(), format!("{expected} 201"));
        assert_eq!(ids("").unwrap_err().message(), format!("{expected} 0"));
        for wrong in [",", "a,,b", "a,", &"é".repeat(257)] {
            assert_eq!(ids(wrong).unwrap_err().message(), "parameter `ids`: expected ids of 1 to 256 characters");
        }
    }
}
