//! Whether the LLM is good for anything, before anybody relies on it: a handful of fixed candidates must not all get one score. A ranker
//! that scores everything 0 answers every request, and nobody notices for weeks.

use std::{sync::Arc, time::Duration};

use dataplane::{BytesData, Data, Datatype, InferRequest, Tensor, readiness::Latch};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::{
    args::SelfTest,
    asking::Asking,
    miss::Missed,
    rows::{self, Input},
    scorer::{MOST, Scored, Scorer},
};

/// A customer and articles that differ as much as articles can.
const CANDIDATES: &str = include_str!("../prompts/selftest.json");
/// Time for one test: a small model on a small machine may have to load first.
const TIME: Duration = Duration::from_secs(120);
/// The pause before the second test; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause before any.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Candidates {
    customer: Map<String, Value>,
    articles: Vec<Map<String, Value>>,
}

/// What a test found.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The scores differ.
    Passed,
    /// The LLM answers, and its answers order nobody.
    Useless(String),
    /// The LLM did not answer.
    Away(String),
}

/// Tests until the LLM passes, or is to be served all the same; then opens `tested`, which nobody closes again.
pub(crate) async fn until_passed(scorer: Arc<Scorer>, policy: SelfTest, tested: Latch) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (strategy, verdict) = (scorer.strategy().name(), test(&scorer).await);
        match verdict {
            Verdict::Passed => {
                tracing::info!(strategy, "the LLM passed the self-test");
                return tested.open();
            }
            Verdict::Useless(reason) if policy == SelfTest::Warn => {
                tracing::warn!(
                    strategy,
                    reason,
                    "the LLM failed the self-test: its order means nothing, and is served all the same"
                );
                return tested.open();
            }
            Verdict::Useless(reason) => tracing::error!(
                strategy,
                reason,
                "the LLM failed the self-test: not ready. Another --strategy, --llm-model or --template may do better; --self-test=warn serves it as it is"
            ),
            Verdict::Away(reason) => tracing::warn!(reason, "the LLM did not answer the self-test: not ready yet"),
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

async fn test(scorer: &Scorer) -> Verdict {
    if let Err(Missed { class, detail }) = scorer.llm.model().await {
        return Verdict::Away(format!("{}: {detail}", class.name()));
    }
    let request = match request(scorer.template.inputs()) {
        Ok(request) => request,
        Err(error) => return Verdict::Useless(error.to_string()),
    };
    let scored = match rows::read(&request, scorer.template.inputs(), MOST) {
        Ok(rows) => scorer.score(&rows.rows, &Asking::background(TIME)).await,
        Err(error) => Err(error),
    };
    scored.map_or_else(|error| Verdict::Useless(error.reason().to_owned()), |scored| verdict(&scored))
}

fn verdict(scored: &Scored) -> Verdict {
    let told = scored.missed().next().map(|missed| format!("{}: {}", missed.class.name(), missed.detail));
    if scored.outage().is_some() {
        return Verdict::Away(told.unwrap_or_default());
    }
    let scores: Vec<f64> = scored.scores.iter().filter_map(|score| score.as_ref().ok().copied()).collect();
    let first = scores.first().copied().unwrap_or_default();
    if scores.iter().any(|score| (score - first).abs() > 1e-9) {
        return Verdict::Passed;
    }
    let (scored, all) = (scores.len(), scored.scores.len());
    let told = told.map(|told| format!("; of the others the first failed so: {told}")).unwrap_or_default();
    Verdict::Useless(format!("{scored} of {all} candidates have a score, and it is the same for all ({first}){told}"))
}

/// The fixed candidates, as a request with these inputs. What they say nothing of is blank.
fn request(inputs: &[Input]) -> serde_json::Result<InferRequest> {
    let Candidates { customer, articles } = serde_json::from_str(CANDIDATES)?;
    let column = |input: &Input| {
        let value = |article: &Map<String, Value>| {
            article.get(&*input.name).or_else(|| customer.get(&*input.name)).cloned().unwrap_or_default()
        };
        let values = articles.iter().map(value);
        let data: Data = match input.datatype {
            Datatype::Bytes => {
                let texts = values.map(|value| value.as_str().unwrap_or_default().to_owned());
                texts.collect::<BytesData>().into()
            }
            #[allow(clippy::cast_possible_truncation)] // FP32 as any request's
            Datatype::Fp32 => values.map(|value| value.as_f64().unwrap_or_default() as f32).collect::<Vec<_>>().into(),
            other => Data::zeros(other, articles.len()),
        };
        Tensor::column(&*input.name, data)
    };
    Ok(InferRequest::of(inputs.iter().map(column).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Verdict, request, verdict};
    use crate::{
        args::Strategy,
        miss::Miss,
        rows::{self, Input},
        scorer::{Score, Scored},
    };

    fn of(scores: &[Score]) -> Verdict {
        verdict(&Scored { scores: scores.to_vec(), strategy: Strategy::Pointwise, tau: None })
    }

    #[test]
    fn one_score_for_all_or_none_at_all_fails() {
        assert_eq!(of(&[Ok(0.5), Ok(0.4), Err(Miss::NoMarker.into())]), Verdict::Passed);
        for useless in [
            vec![Ok(0.0), Ok(0.0)],
            vec![Ok(0.5), Err(Miss::NoMarker.into())],
            vec![Err(Miss::NoMarker.into()), Err(Miss::Deadline.into())],
        ] {
            assert!(matches!(of(&useless), Verdict::Useless(_)), "{useless:?}");
        }
        assert!(matches!(of(&[Err(Miss::Unreachable.into()), Err(Miss::Deadline.into())]), Verdict::Away(_)));
    }

    #[test]
    fn the_fixed_candidates_fill_every_known_input_and_differ() {
        let inputs = Input::known(&BTreeMap::new()).unwrap();
        let rows = rows::read(&request(&inputs).unwrap(), &inputs, 20).unwrap().rows;
        assert_eq!(rows.len(), 5);
        for (position, row) in rows.iter().enumerate() {
            assert!(row.values().all(|value| !value.to_string().is_empty()), "{row:?}");
            assert!(rows[..position].iter().all(|other| other["product_type_name"] != row["product_type_name"]));
        }
    }
}
