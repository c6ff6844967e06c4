//! A call a candidate: the probability that the customer buys it. What fails for one concerns no other.

use std::sync::Arc;

use dataplane::Result;
use futures_util::future::join_all;

use crate::{
    args::Strategy,
    asking::Asking,
    features::Form,
    llm::Ask,
    miss::Missed,
    parse,
    rows::Row,
    scorer::{Score, Scored, Scorer},
    template::Prompt,
};

/// Tokens of an answer: a number takes ten, and some models begin with a sentence.
const ANSWER: u32 = 64;

/// The scores of `rows`, in their order whatever the order of the answers.
///
/// # Errors
/// A prompt can't be written.
pub(crate) async fn score(scorer: &Scorer, rows: &[Row], asking: &Asking) -> Result<Scored> {
    let json = scorer.llm.is_structured();
    let prompts = rows.iter().map(|row| scorer.template.pointwise(row, json));
    let prompts = prompts.collect::<Result<Vec<_>>>()?;
    let scores = join_all(prompts.iter().map(|prompt| one(scorer, prompt, asking))).await;
    Ok(Scored { scores, strategy: Strategy::Pointwise, tau: None })
}

async fn one(scorer: &Scorer, prompt: &Prompt, asking: &Asking) -> Score {
    let ask = Ask::new(prompt, Form::Probability, ANSWER);
    let probability = async {
        let chat = scorer.llm.complete(ask, asking).await?;
        let probability = parse::probability(&chat).map_err(Missed::from)?;
        Ok(Arc::from([probability]))
    };
    let probability = scorer.remembered((Strategy::Pointwise, prompt), asking, probability).await?;
    Ok(probability.first().copied().unwrap_or_default())
}
