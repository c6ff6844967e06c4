//! One call for all candidates, as LlamaRec's verbalizer does it: each stands behind a label, one token is asked for, and the probabilities
//! that the model gives to the labels there are the scores. Several orders of the candidates even out what their places do.

use std::sync::Arc;

use dataplane::Result;
use futures_util::future::join_all;

use crate::{
    api::{Chat, TokenLogprob},
    args::Strategy,
    asking::Asking,
    cache::Scores,
    features::Form,
    llm::Ask,
    miss::{Miss, Missed},
    parse::opens_with_reasoning,
    rows::Row,
    scorer::{Scored, Scorer},
    tau,
    template::{LABELS, Prompt},
};

/// Tokens of an answer.
const ANSWER: u32 = 1;

/// The scores of `rows`, all of the customer of whom `customer` tells; nothing where the API gives no probabilities.
///
/// # Errors
/// A prompt can't be written.
pub(crate) async fn score(scorer: &Scorer, customer: &str, rows: &[Row], asking: &Asking) -> Result<Option<Scored>> {
    let orders = orders(rows.len(), scorer.permutations);
    let prompts = orders
        .iter()
        .map(|order| scorer.template.listwise(customer, order.iter().filter_map(|&position| rows.get(position))));
    let prompts = prompts.collect::<Result<Vec<_>>>()?;
    let answers = join_all(prompts.iter().map(|prompt| one(scorer, prompt, rows.len(), asking))).await;
    if answers.iter().any(|answer| answer.as_ref().is_err_and(|missed| missed.class == Miss::NoLogprobs)) {
        return Ok(None);
    }
    Ok(Some(joined(rows.len(), &orders, &answers, scorer)))
}

/// The scores of one order, by label.
async fn one(scorer: &Scorer, prompt: &Prompt, labels: usize, asking: &Asking) -> Result<Scores, Missed> {
    let ask = Ask::new(prompt, Form::Label, ANSWER);
    let probabilities = async {
        let chat = scorer.llm.complete(ask, asking).await.map_err(without_logprobs)?;
        Ok(Arc::from(by_label(&chat, labels)?))
    };
    scorer.remembered((Strategy::Listwise, prompt), asking, probabilities).await
}

/// A refusal that is about the probabilities means that there are none to be had.
fn without_logprobs(missed: Missed) -> Missed {
    let about_them = missed.class == Miss::Rejected && missed.detail.contains("logprob");
    if about_them { Miss::NoLogprobs.into() } else { missed }
}

/// The mean of what the orders say of each candidate. An order that failed says nothing; where all did, the first one's class is told.
#[allow(clippy::cast_precision_loss)] // at most 8 orders
fn joined(count: usize, orders: &[Vec<usize>], answers: &[Result<Scores, Missed>], scorer: &Scorer) -> Scored {
    let answered = orders.iter().zip(answers).filter_map(|(order, answer)| Some((order, answer.as_ref().ok()?)));
    let by_candidate: Vec<Vec<f64>> = answered
        .map(|(order, by_label)| {
            let mut scores = vec![0.0; count];
            order.iter().zip(by_label.iter()).for_each(|(&position, &score)| scores[position] = score);
            scores
        })
        .collect();
    let tau = tau::mean(&by_candidate.iter().map(Vec::as_slice).collect::<Vec<_>>());
    tau.inspect(|tau| scorer.metrics.tau(*tau));
    let mean =
        |position: usize| by_candidate.iter().map(|scores| scores[position]).sum::<f64>() / by_candidate.len() as f64;
    let failed = answers.iter().find_map(|answer| answer.as_ref().err()).filter(|_| by_candidate.is_empty());
    let score = |position| failed.map_or_else(|| Ok(mean(position)), |missed| Err(missed.clone()));
    Scored { scores: (0..count).map(score).collect(), strategy: Strategy::Listwise, tau }
}

/// Orders of `count` candidates: as they come, the other way around, and then turned by equal steps. No two are the same, so that there
/// may be fewer than are wanted.
fn orders(count: usize, wanted: usize) -> Vec<Vec<usize>> {
    let as_they_come: Vec<usize> = (0..count).collect();
    let mut orders: Vec<Vec<usize>> = Vec::with_capacity(wanted);
    for number in 0..wanted {
        let mut order = as_they_come.clone();
        match number {
            0 => {}
            1 => order.reverse(),
            number => order.rotate_left((number - 1) * count / (wanted - 1)),
        }
        if !orders.contains(&order) {
            orders.push(order);
        }
    }
    orders
}

/// What share of the labels' probability each of the first `count` labels has, at the token that decides.
///
/// # Errors
/// There are no probabilities, or no label is among the likeliest tokens.
fn by_label(chat: &Chat, count: usize) -> Result<Vec<f64>, Miss> {
    if chat.is_refusal() {
        return Err(Miss::Refusal);
    }
    if chat.logprobs().is_empty() {
        return Err(if chat.is_cut_in_thought() { Miss::Truncated } else { Miss::NoLogprobs });
    }
    let decides = deciding(chat.logprobs()).ok_or(if chat.is_cut() { Miss::Truncated } else { Miss::NoMarker })?;
    if decides.top_logprobs.is_empty() {
        return Err(Miss::NoLogprobs);
    }
    let listed = decides.top_logprobs.iter().map(|top| (label(&top.token), top.logprob.exp())).collect::<Vec<_>>();
    let labels = LABELS.chars().take(count);
    let found = labels.map(|wanted| {
        let of_label = listed.iter().filter(|(label, _)| *label == Some(wanted));
        of_label.fold(None, |sum: Option<f64>, (_, probability)| Some(sum.unwrap_or_default() + probability))
    });
    let found: Vec<Option<f64>> = found.collect();
    if found.iter().all(Option::is_none) {
        return Err(Miss::NoMarker);
    }
    // What is not listed is no likelier than what is listed last, nor than all that is left.
    let least = listed.iter().map(|(_, probability)| *probability).fold(1.0, f64::min);
    let left = 1.0 - listed.iter().map(|(_, probability)| probability).sum::<f64>();
    let bound = least.min(left.max(0.0));
    let probabilities: Vec<f64> = found.into_iter().map(|probability| probability.unwrap_or(bound)).collect();
    let sum: f64 = probabilities.iter().sum();
    // A probability that is no number, or a sum of nothing, orders nobody.
    if !sum.is_normal() {
        return Err(Miss::NotANumber);
    }
    Ok(probabilities.into_iter().map(|probability| probability / sum).collect())
}

/// The token that decides: the first that says something, behind whatever the model thought.
fn deciding(tokens: &[TokenLogprob]) -> Option<&TokenLogprob> {
    let text: String = tokens.iter().map(|token| token.token.as_str()).collect();
    let thought = match text.rfind("</think>") {
        Some(end) => end + "</think>".len(),
        None if opens_with_reasoning(&text) => return None,
        None => 0,
    };
    let mut end = 0;
    tokens.iter().find(|token| {
        let begins = end;
        end += token.token.len();
        begins >= thought && !token.token.trim().is_empty()
    })
}

/// The label that a token is, with or without blanks around it.
fn label(token: &str) -> Option<char> {
    let mut letters = token.trim().chars();
    letters.next().filter(|letter| LABELS.contains(*letter) && letters.next().is_none())
}

#[cfg(test)]
mod tests;
