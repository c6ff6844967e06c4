//! Why a list is as it is: what the ranker that ordered it says of its best articles. Asked for by itself, never on the way of a ranking.

use catalog::{articles::Articles, index::Neighbour};
use dataplane::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    features::{Plan, RequestFeatures},
    rank::Ranker,
};

/// How many articles are explained where the request does not say.
pub(crate) const EXPLAINED: usize = 3;

/// Why the best articles of a list are its best.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Explanation {
    /// The ranker that ordered it, and explains.
    ranker: String,
    /// Best first.
    articles: Vec<Explained>,
}

/// Why an article stands where it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Explained {
    article_id: String,
    score: f64,
    /// The ranker's words, or its object where they are one; nothing where it had none for it.
    explanation: Option<Value>,
}

/// Asks the ranker for explanations of these scores and rows.
///
/// # Errors
/// By class: it does not explain, refuses, can't be reached, is late, or answers what is none.
pub(crate) async fn explain(
    ranker: &Ranker,
    plan: &Plan,
    articles: &Articles,
    best: &[(f32, u32)],
    request: &RequestFeatures,
    context: &Context,
) -> Result<Explanation> {
    let rows: Vec<_> = best.iter().map(|&(score, row)| Neighbour { row, score }).collect();
    let ids: Vec<_> = best.iter().map(|&(_, row)| articles.id(row)).collect();
    let texts = match ids.as_slice() {
        [] => Vec::new(), // there is nothing to ask about
        ids => ranker.explain(plan.tensors(articles, &rows, request)?, ids, context).await?,
    };
    let explained = best.iter().zip(ids).zip(texts).map(|((&(score, _), article_id), explanation)| {
        let article_id = article_id.to_owned();
        Explained { article_id, score: widened(score), explanation: explanation.map(structured) }
    });
    Ok(Explanation { ranker: ranker.name().to_owned(), articles: explained.collect() })
}

/// An explanation as it is told: as an object, if it is the text of one.
fn structured(text: String) -> Value {
    serde_json::from_str::<Map<_, _>>(&text).map_or(Value::String(text), Value::Object)
}

/// The number that is written as the FP32 is: a JSON value knows no FP32, and would show digits that the ranking does not have.
fn widened(score: f32) -> f64 {
    score.to_string().parse().unwrap_or_else(|_| score.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{structured, widened};

    #[test]
    fn the_text_of_an_object_becomes_one_and_any_other_stays_a_text() {
        assert_eq!(structured(r#"{"base": -3.1}"#.to_owned()), json!({"base": -3.1}));
        for text in ["", "42", "[1]", "{", "{} and more", "It suits you."] {
            assert_eq!(structured(text.to_owned()), json!(text));
        }
    }

    #[test]
    fn a_score_is_written_as_in_the_ranking() {
        for score in [0.97_f32, 0.1, 1.0, 0.0, 1e-7, -0.333_333_34, f32::MIN_POSITIVE] {
            let written: f64 = serde_json::to_string(&score).unwrap().parse().unwrap();
            assert_eq!(json!(widened(score)).as_f64(), Some(written));
        }
        assert_eq!(json!(widened(0.97)).to_string(), "0.97");
    }
}
