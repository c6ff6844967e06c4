//! Why an article is not in a list: the step at which it dropped out, with the numbers of each step that it came through.

use std::collections::BTreeMap;

use catalog::{filter::Filter, index::score};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    candidates::{Candidate, Seeker, likeness},
    explain::{Retrieved, widened},
    filter::Eligibility,
    neighbours::Retrieval,
};

/// Where an article's way ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Step {
    /// The bundle does not have it.
    Catalogue,
    /// It may not be in the answer.
    Filter,
    /// It could have been a candidate, but others were nearer.
    Retrieval,
    /// It was a candidate, but others were ranked higher.
    Ranking,
    /// It is in the list.
    Listed,
}

/// The way of one article.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Trace {
    pub(crate) article_id: String,
    /// Where it ended.
    pub(crate) step: Step,
    /// What had to hold of it to be in the answer, and whether it did.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    filter: BTreeMap<String, bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retrieval: Option<Way>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ranking: Option<Place>,
    /// What the ranker was told of it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) features: Map<String, Value>,
    /// The ranker's words, or its object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) explanation: Option<Value>,
}

/// How near it came to be a candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Way {
    Found(Retrieved),
    Missed(Missed),
}

/// What it lacked.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Missed {
    /// Inner product of the query and its embedding.
    score: f64,
    /// Its place among all that are eligible by that score, from 1.
    rank: usize,
    /// The last candidate's score.
    last_score: Option<f64>,
    /// How much it is like what was touched.
    alike: f64,
    /// Its place among all that are eligible by what sells to the age group, from 1.
    popularity_rank: Option<usize>,
    candidates: usize,
}

/// What the ranker made of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Place {
    /// From 1.
    place: usize,
    score: f64,
    /// Whether the score is the ranker's; what it did not score follows with 0.
    scored: bool,
    /// How many the list has.
    k: usize,
    /// The score of the list's last.
    last_score: Option<f64>,
}

impl Trace {
    /// The way up to the candidates that were found.
    pub(crate) fn of(
        article_id: &str,
        retrieval: &Retrieval,
        eligibility: &Eligibility<'_>,
        filter: Option<&Filter>,
        seeker: Seeker<'_>,
        found: &[Candidate],
    ) -> Self {
        let mut trace = Self {
            article_id: article_id.to_owned(),
            step: Step::Catalogue,
            filter: BTreeMap::new(),
            retrieval: None,
            ranking: None,
            features: Map::new(),
            explanation: None,
        };
        let Some(row) = retrieval.articles.row(article_id) else { return trace };
        trace.filter = eligibility.verdicts(filter, article_id, row);
        if trace.filter.values().any(|holds| !holds) {
            trace.step = Step::Filter;
            return trace;
        }
        let candidate = found.iter().find(|candidate| candidate.row == row);
        trace.step = if candidate.is_some() { Step::Ranking } else { Step::Retrieval };
        let missed = || Way::Missed(Missed::of(row, retrieval, seeker, found));
        trace.retrieval = Some(candidate.map_or_else(missed, |candidate| Way::Found(Retrieved::of(candidate))));
        trace
    }

    /// The rest of the way, of all candidates in their last order, of which the list has the first `k`.
    pub(crate) fn ranked(&mut self, row: Option<u32>, all: &[(f32, u32)], scored: usize, k: usize) {
        let Some(place) = all.iter().position(|(_, other)| Some(*other) == row) else { return };
        if place < k {
            self.step = Step::Listed;
        }
        self.ranking = Some(Place {
            place: place + 1,
            score: widened(all[place].0),
            scored: place < scored,
            k,
            last_score: all.iter().take(k).next_back().map(|(score, _)| widened(*score)),
        });
    }
}

impl Missed {
    fn of(row: u32, retrieval: &Retrieval, seeker: Seeker<'_>, found: &[Candidate]) -> Self {
        let Seeker { query, history, age_group, eligible } = seeker;
        let articles = &retrieval.articles;
        let own = score(articles.embeddings(), query, row);
        let better = eligible.iter().filter(|other| score(articles.embeddings(), query, *other) > own).count();
        let signals = articles.signals();
        let popular = signals.map(|signals| signals.popular(age_group).iter().filter(|row| eligible.contains(**row)));
        let alike = signals.and_then(|signals| likeness(signals, history).get(&row).copied());
        Self {
            score: widened(own),
            rank: better + 1,
            last_score: found.last().map(|candidate| widened(candidate.score)),
            alike: widened(alike.unwrap_or_default()),
            popularity_rank: popular.and_then(|mut rows| Some(rows.position(|other| *other == row)? + 1)),
            candidates: found.len(),
        }
    }
}
