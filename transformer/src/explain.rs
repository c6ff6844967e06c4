//! Why a list is as it is: what the ranker that ordered it says of its best articles. Asked for by itself, never on the way of a ranking.

use catalog::articles::Articles;
use dataplane::{Context, Data, Result, Tensor};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    candidates::{Candidate, Source},
    features::{ARTICLE_ID, Plan},
    neighbours::Candidates,
    rank::Ranker,
    trace::Trace,
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
    /// The way of the article that was asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    article: Option<Box<Trace>>,
    /// All that the ranker was asked about, in the order of retrieval, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Listed>>,
}

/// Why an article stands where it does.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Explained {
    article_id: String,
    score: f64,
    retrieval: Retrieved,
    /// What the ranker was told of it, by name.
    features: Map<String, Value>,
    /// The ranker's words, or its object where they are one; nothing where it had none for it.
    explanation: Option<Value>,
}

/// A candidate, before and after ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Listed {
    article_id: String,
    sources: Vec<Source>,
    /// Its place among the candidates, from 1.
    retrieval_rank: u32,
    /// Inner product of the query and its embedding.
    retrieval_score: f64,
    /// The ranker's; nothing where it did not score it.
    score: Option<f64>,
}

/// How an article came to be a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Retrieved {
    sources: Vec<Source>,
    /// Its place among the candidates, from 1.
    rank: u32,
    /// Inner product of the query and its embedding: the larger, the nearer.
    score: f64,
}

impl Retrieved {
    pub(crate) fn of(candidate: &Candidate) -> Self {
        Self { sources: candidate.sources(), rank: candidate.rank + 1, score: widened(candidate.score) }
    }
}

/// All candidates in their last order, and how many of them are asked about.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    /// Score and row, best first.
    pub(crate) all: &'a [(f32, u32)],
    /// How many of them the ranker scored; they stand first.
    pub(crate) scored: usize,
    /// How many of the best are explained.
    pub(crate) explained: usize,
    /// How many the list has.
    pub(crate) k: usize,
    /// The ranker's scores by candidate, where all candidates are to be told.
    pub(crate) told: Option<&'a [Option<f32>]>,
}

/// Asks the ranker why the best are that, and why the article is not that the candidates' trace is of.
///
/// # Errors
/// By class: it does not explain, refuses, can't be reached, is late, or answers what is none.
pub(crate) async fn explain(
    ranker: &Ranker,
    plan: &Plan,
    articles: &Articles,
    whole: Whole<'_>,
    candidates: &mut Candidates,
    context: &Context,
) -> Result<Explanation> {
    let best = &whole.all[..whole.all.len().min(whole.explained)];
    let mut trace = candidates.trace.take();
    let traced = trace.as_deref().and_then(|trace| articles.row(&trace.article_id));
    // The article is asked about with the best, unless it is one of them.
    let other = whole.all[best.len()..].iter().find(|(_, row)| Some(*row) == traced);
    let asked: Vec<_> = best.iter().chain(other).copied().collect();
    let mut explained = all_explained(ranker, plan, articles, &asked, candidates, context).await?;
    if let Some(trace) = &mut trace {
        trace.ranked(traced, whole.all, whole.scored, whole.k);
        if let Some(own) = explained.iter().find(|explained| explained.article_id == trace.article_id) {
            (trace.features, trace.explanation) = (own.features.clone(), own.explanation.clone());
        }
    }
    explained.truncate(best.len());
    let listed = whole.told.map(|scores| listed(articles, &candidates.found, scores));
    Ok(Explanation { ranker: ranker.name().to_owned(), articles: explained, article: trace, candidates: listed })
}

fn listed(articles: &Articles, found: &[Candidate], scores: &[Option<f32>]) -> Vec<Listed> {
    let each = found.iter().zip(scores).map(|(candidate, score)| Listed {
        article_id: articles.id(candidate.row).to_owned(),
        sources: candidate.sources(),
        retrieval_rank: candidate.rank + 1,
        retrieval_score: widened(candidate.score),
        score: score.map(widened),
    });
    each.collect()
}

async fn all_explained(
    ranker: &Ranker,
    plan: &Plan,
    articles: &Articles,
    asked: &[(f32, u32)],
    candidates: &Candidates,
    context: &Context,
) -> Result<Vec<Explained>> {
    let found = |&(_, row): &(f32, u32)| candidates.found.iter().find(|candidate| candidate.row == row).copied();
    let rows: Vec<_> = asked.iter().filter_map(found).collect();
    let tensors = plan.tensors(articles, &rows, &candidates.request)?;
    let features: Vec<_> = (0..rows.len()).map(|row| told(&tensors, row)).collect();
    let ids: Vec<_> = asked.iter().map(|&(_, row)| articles.id(row)).collect();
    let texts = match ids.as_slice() {
        [] => Vec::new(), // there is nothing to ask about
        ids => ranker.explain(tensors, ids, context).await?,
    };
    let parts = asked.iter().zip(ids).zip(rows).zip(features).zip(texts);
    let explained = parts.map(|((((&(score, _), article_id), candidate), features), explanation)| Explained {
        article_id: article_id.to_owned(),
        score: widened(score),
        retrieval: Retrieved::of(&candidate),
        features,
        explanation: explanation.map(structured),
    });
    Ok(explained.collect())
}

/// The values of one row, by the tensors' names; its id is told beside them.
fn told(tensors: &[Tensor], row: usize) -> Map<String, Value> {
    let value = |tensor: &Tensor| match tensor.data() {
        Data::Fp32(values) => values.get(row).map(|value| widened(*value).into()),
        Data::Fp64(values) => values.get(row).map(|value| (*value).into()),
        _ => tensor.as_bytes().and_then(|texts| Some(String::from_utf8_lossy(texts.iter().nth(row)?).into())),
    };
    let values = tensors.iter().filter(|tensor| tensor.name() != ARTICLE_ID);
    values.filter_map(|tensor| Some((tensor.name().to_owned(), value(tensor)?))).collect()
}

/// An explanation as it is told: as an object, if it is the text of one.
fn structured(text: String) -> Value {
    serde_json::from_str::<Map<_, _>>(&text).map_or(Value::String(text), Value::Object)
}

/// The number that is written as the FP32 is: a JSON value knows no FP32, and would show digits that the ranking does not have.
pub(crate) fn widened(score: f32) -> f64 {
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
