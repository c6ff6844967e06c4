//! Step 3: what the ranker is asked about, from three sources that know different things. Evaluation and training do the same
//! (`pipelines/hemline/candidates.py`).

use std::collections::{BTreeMap, BTreeSet};

use catalog::{
    bundle::Sources,
    index::{IndexError, Neighbour, score},
    rows::Rows,
    signals::Signals,
};
use serde::Serialize;

use crate::{history::History, neighbours::Retrieval};

/// Who found a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    /// It is near to the query: the customer's taste.
    Towers,
    /// It was bought by those who bought what the customer touched of late.
    Alike,
    /// It sells of late to the customer's age group.
    Popular,
}

/// An article that the ranker is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    /// Its row in the article table.
    pub(crate) row: u32,
    /// Inner product of the query and its embedding.
    pub(crate) score: f32,
    /// Its place among the candidates by that score, from 0.
    pub(crate) rank: u32,
    /// How much it is like what was touched.
    pub(crate) alike: f32,
    /// Found by the towers, by what is alike, by what is popular.
    pub(crate) found_by: [bool; 3],
}

impl Candidate {
    /// Who found it.
    pub(crate) fn sources(&self) -> Vec<Source> {
        let all = [Source::Towers, Source::Alike, Source::Popular];
        all.into_iter().zip(self.found_by).filter_map(|(source, found)| found.then_some(source)).collect()
    }
}

/// Whom candidates are found for.
#[derive(Clone, Copy)]
pub(crate) struct Seeker<'a> {
    /// Where the towers look.
    pub(crate) query: &'a [f32],
    /// What was touched of late.
    pub(crate) history: &'a History,
    /// The number of the age group.
    pub(crate) age_group: usize,
    /// What may be found.
    pub(crate) eligible: &'a Rows,
}

/// The `count` candidates in the order of the towers' score, ties by row; all that are eligible where they are fewer.
///
/// # Errors
/// The index fails.
pub(crate) fn find(retrieval: &Retrieval, seeker: Seeker<'_>, count: usize) -> Result<Vec<Candidate>, IndexError> {
    let Seeker { query, history, age_group, eligible } = seeker;
    let articles = &retrieval.articles;
    let nearest = retrieval.index.search(articles.embeddings(), query, count, eligible)?;
    let Some((sources, signals)) = retrieval.sources.zip(articles.signals()) else {
        return Ok(ranked(nearest.into_iter().map(of_towers).collect()));
    };
    let likeness = likeness(signals, history);
    let alike = alike(&likeness, eligible, share(sources, |sources| sources.alike, count));
    let popular = signals.popular(age_group).iter().copied().filter(|row| eligible.contains(*row));
    let popular: BTreeSet<u32> = popular.take(share(sources, |sources| sources.popular, count)).collect();
    let reserved: BTreeSet<u32> = alike.union(&popular).copied().collect();
    let by_towers: BTreeMap<u32, f32> = nearest.iter().map(|neighbour| (neighbour.row, neighbour.score)).collect();
    let others = nearest.iter().map(|neighbour| neighbour.row).filter(|row| !reserved.contains(row));
    let chosen = reserved.iter().copied().chain(others).take(count);
    let candidates = chosen.map(|row| Candidate {
        row,
        score: by_towers.get(&row).copied().unwrap_or_else(|| score(articles.embeddings(), query, row)),
        rank: 0,
        alike: likeness.get(&row).copied().unwrap_or_default(),
        found_by: [by_towers.contains_key(&row), alike.contains(&row), popular.contains(&row)],
    });
    Ok(ranked(candidates.collect()))
}

/// The `count` articles that sell most to an age group: what is left where nobody can be sought for. They have no scores.
pub(crate) fn most_sold(signals: &Signals, age_group: usize, eligible: &Rows, count: usize) -> Vec<Candidate> {
    let rows = signals.popular(age_group).iter().copied().filter(|row| eligible.contains(*row)).take(count);
    let popular = |(rank, row)| Candidate { row, score: 0.0, rank, alike: 0.0, found_by: [false, false, true] };
    (0..).zip(rows).map(popular).collect()
}

/// How many of `count` candidates a source has.
fn share(sources: Sources, of: impl Fn(Sources) -> f64, count: usize) -> usize {
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    // a share of at most 1,000
    let share = (of(sources) * count as f64) as usize;
    share
}

fn of_towers(Neighbour { row, score }: Neighbour) -> Candidate {
    Candidate { row, score, rank: 0, alike: 0.0, found_by: [true, false, false] }
}

/// The sum of each article's likenesses to what was touched, by what each touch counts.
pub(crate) fn likeness(signals: &Signals, history: &History) -> BTreeMap<u32, f32> {
    let mut sums = BTreeMap::<u32, f64>::new(); // wider, so that equals stay equal in whichever order they are added up
    for (touched, weight) in history.weighted() {
        for (row, cosine) in signals.alike(touched) {
            *sums.entry(row).or_default() += f64::from(weight * cosine);
        }
    }
    #[allow(clippy::cast_possible_truncation)] // FP32 is what the models take
    sums.into_iter().map(|(row, sum)| (row, sum as f32)).collect()
}

/// The `count` rows that are most alike, ties by row.
fn alike(likeness: &BTreeMap<u32, f32>, eligible: &Rows, count: usize) -> BTreeSet<u32> {
    let mut rows: Vec<_> =
        likeness.iter().filter(|(row, likeness)| **likeness > 0.0 && eligible.contains(**row)).collect();
    rows.sort_by(|a, b| b.1.total_cmp(a.1)); // stable, and rows ascend
    rows.into_iter().take(count).map(|(row, _)| *row).collect()
}

fn ranked(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    for (rank, candidate) in (0..).zip(&mut candidates) {
        candidate.rank = rank;
    }
    candidates
}
