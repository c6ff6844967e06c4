//! Numbers of a candidate: those that every ranker may ask for, and those that a bundle's manifest defines by a function. Training computes the same
//! (`pipelines/hemline/ranking_features.py`, which says what each of them is).

use std::collections::HashMap;

use catalog::{
    articles::Articles,
    bundle::{Bundle, Feature, MANIFEST},
    index::dot,
    signals::Signals,
};

use super::RequestFeatures;
use crate::candidates::Candidate;

/// For how long nobody touched anything where nothing is known to have been.
const NO_TOUCH_DAYS: f32 = 365.0;
/// The shortest vector that has a direction.
const SHORTEST: f32 = 1e-12;

/// The numbers that a manifest defines, by name.
pub(crate) type Numbers = HashMap<String, Number>;

/// How a number is computed. Columns are of the article table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Age,
    MonthSin,
    MonthCos,
    Column(String),
    AgeGroupColumn,
    RetrievalScore,
    RetrievalRank,
    Alike,
    HistoryWeight,
    HistoryDays,
    HistoryGap(String),
    HistoryShare(String),
    HistorySimilarity,
}

/// The numbers that a bundle defines.
///
/// # Errors
/// One is of a function or a column that is not known; one line that names it.
pub(crate) fn defined(bundle: &Bundle, articles: &Articles) -> Result<Numbers, String> {
    let defined = bundle.manifest().ranking.features.iter().filter(|feature| feature.function.is_some());
    let number = |feature: &Feature| {
        let number = Number::of(feature, articles).ok_or_else(|| {
            let (function, column) = (feature.function.as_deref().unwrap_or_default(), column(feature));
            let reason =
                format!("ranking feature `{}`: function `{function}` of column `{column}` is not known", feature.name);
            bundle.invalid(MANIFEST, reason).to_string()
        })?;
        Ok((feature.name.clone(), number))
    };
    defined.map(number).collect()
}

impl Number {
    fn of(feature: &Feature, articles: &Articles) -> Option<Self> {
        let column = column(feature).to_owned();
        Some(match feature.function.as_deref()? {
            "column" if articles.numbers(&column).is_some() => Self::Column(column),
            "age_group_column" if column == Signals::BY_AGE_GROUP => {
                articles.signals().map(|_| Self::AgeGroupColumn)?
            }
            "retrieval_score" => Self::RetrievalScore,
            "retrieval_rank" => Self::RetrievalRank,
            "alike" => Self::Alike,
            "history_weight" => Self::HistoryWeight,
            "history_days" => Self::HistoryDays,
            "history_gap" if articles.numbers(&column).is_some() => Self::HistoryGap(column),
            "history_share" if articles.codes(&column).is_some() => Self::HistoryShare(column),
            "history_similarity" => Self::HistorySimilarity,
            _ => return None,
        })
    }

    /// Writes that of each candidate to its cell.
    pub(super) fn write<'a>(
        &self,
        cells: impl Iterator<Item = &'a mut f32>,
        articles: &Articles,
        found: &[Candidate],
        request: &RequestFeatures,
    ) {
        let each = |value: &dyn Fn(&Candidate) -> f32| {
            cells.zip(found).for_each(|(cell, candidate)| *cell = value(candidate));
        };
        let numbers = |column: &str| articles.numbers(column).unwrap_or_default();
        let touched = &request.touched;
        match self {
            Self::Age => each(&|_| request.age),
            Self::MonthSin => each(&|_| request.season.month_sin),
            Self::MonthCos => each(&|_| request.season.month_cos),
            Self::Column(column) => {
                let numbers = numbers(column);
                each(&|candidate| numbers[candidate.row as usize]);
            }
            Self::AgeGroupColumn => {
                let sold = |row| articles.signals().map_or(0.0, |signals| signals.sold_to(row, request.age_group));
                each(&|candidate| sold(candidate.row));
            }
            Self::RetrievalScore => each(&|candidate| candidate.score),
            #[allow(clippy::cast_precision_loss)] // at most 1,000
            Self::RetrievalRank => each(&|candidate| candidate.rank as f32),
            Self::Alike => each(&|candidate| candidate.alike),
            Self::HistoryWeight => {
                let weight = touched.weight().ln_1p();
                each(&|_| weight);
            }
            Self::HistoryDays => {
                let days = touched.days.first().copied().unwrap_or(NO_TOUCH_DAYS).ln_1p();
                each(&|_| days);
            }
            Self::HistoryGap(_) | Self::HistoryShare(_) if touched.rows.is_empty() => each(&|_| 0.0),
            Self::HistoryGap(column) => {
                let numbers = numbers(column);
                let sum: f32 = touched.weighted().map(|(row, weight)| numbers[row as usize] * weight).sum();
                let mean = sum / touched.weight();
                each(&|candidate| numbers[candidate.row as usize] - mean);
            }
            Self::HistoryShare(column) => {
                let (codes, weight) = (articles.codes(column).unwrap_or_default(), touched.weight());
                let mut shares = HashMap::<i32, f32>::new();
                touched.weighted().for_each(|(row, weight)| {
                    *shares.entry(codes[row as usize]).or_default() += weight;
                });
                each(&|candidate| shares.get(&codes[candidate.row as usize]).map_or(0.0, |share| share / weight));
            }
            Self::HistorySimilarity => {
                let touched: Vec<_> = touched.rows.iter().map(|&row| unit(articles.embedding(row))).collect();
                each(&|candidate| {
                    let own = unit(articles.embedding(candidate.row));
                    touched.iter().map(|touched| dot(touched, &own)).fold(-1.0, f32::max)
                });
            }
        }
    }
}

/// The column that a feature's function reads.
fn column(feature: &Feature) -> &str {
    feature.column.as_deref().unwrap_or(&feature.name)
}

/// The vector of length 1 in the same direction.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = dot(vector, vector).sqrt().max(SHORTEST);
    vector.iter().map(|value| value / length).collect()
}
