use super::{by_label, orders};
use crate::{
    api::{Chat, TokenLogprob},
    miss::Miss,
};

fn token(text: &str, tops: &[(&str, f64)]) -> TokenLogprob {
    let top_logprobs = tops.iter().map(|(text, probability)| TokenLogprob {
        token: (*text).to_owned(),
        logprob: probability.ln(),
        top_logprobs: Vec::new(),
    });
    TokenLogprob { token: text.to_owned(), logprob: 0.0, top_logprobs: top_logprobs.collect() }
}

fn answer(tokens: &[TokenLogprob]) -> Chat {
    let text: String = tokens.iter().map(|token| token.token.as_str()).collect();
    Chat::saying(&text, "length").with_logprobs(tokens.to_vec())
}

fn assert_close(scores: &[f64], expected: &[f64]) {
    let close = scores.iter().zip(expected).all(|(score, expected)| (score - expected).abs() < 1e-9);
    assert!(close && scores.len() == expected.len(), "{scores:?} is not {expected:?}");
}

#[test]
fn a_labels_score_is_its_share_of_what_all_labels_have() {
    let scores = by_label(&answer(&[token("B", &[("B", 0.5), ("A", 0.25), ("The", 0.25)])]), 2).unwrap();
    assert_close(&scores, &[1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn a_label_with_blanks_around_it_is_the_same_label() {
    let tops = [("A", 0.2), (" A", 0.3), ("B\n", 0.5), ("AB", 0.0), ("a", 0.0)];
    assert_close(&by_label(&answer(&[token("A", &tops)]), 2).unwrap(), &[0.5, 0.5]);
}

#[test]
fn a_label_that_is_not_listed_has_the_least_that_is_listed_or_what_is_left() {
    // 0.2 is the least that is listed, and 0.1 is left.
    let scores = by_label(&answer(&[token("A", &[("A", 0.7), ("B", 0.2)])]), 4).unwrap();
    assert_close(&scores, &[0.7 / 1.1, 0.2 / 1.1, 0.1 / 1.1, 0.1 / 1.1]);
    // 0.05 is the least that is listed, and 0.35 is left.
    let scores = by_label(&answer(&[token("A", &[("A", 0.6), ("The", 0.05)])]), 2).unwrap();
    assert_close(&scores, &[0.6 / 0.65, 0.05 / 0.65]);
}

#[test]
fn a_thought_decides_nothing() {
    let said = [token("<think>", &[]), token("A", &[("A", 1.0)]), token("</think>", &[]), token("\n\n", &[])];
    let mut tokens = said.to_vec();
    tokens.push(token("B", &[("B", 0.9), ("A", 0.1)]));
    assert_close(&by_label(&answer(&tokens), 2).unwrap(), &[0.1, 0.9]);
    assert_eq!(by_label(&answer(&said), 2).unwrap_err(), Miss::Truncated);
    assert_eq!(by_label(&answer(&said[..2]), 2).unwrap_err(), Miss::Truncated);
}

#[test]
fn an_answer_without_probabilities_or_labels_is_told_apart() {
    assert_eq!(by_label(&Chat::saying("A", "length"), 2).unwrap_err(), Miss::NoLogprobs);
    assert_eq!(by_label(&answer(&[token("A", &[])]), 2).unwrap_err(), Miss::NoLogprobs);
    assert_eq!(by_label(&answer(&[token("The", &[("The", 0.9), ("C", 0.1)])]), 2).unwrap_err(), Miss::NoMarker);
    assert_eq!(by_label(&answer(&[token("A", &[("A", f64::NAN)])]), 1).unwrap_err(), Miss::NotANumber);
    assert_eq!(by_label(&Chat::saying("", "content_filter"), 2).unwrap_err(), Miss::Refusal);
}

#[test]
fn orders_are_the_given_one_its_opposite_and_turns_and_no_two_are_the_same() {
    assert_eq!(orders(4, 1), [[0, 1, 2, 3]]);
    assert_eq!(orders(4, 3), [[0, 1, 2, 3], [3, 2, 1, 0], [2, 3, 0, 1]]);
    assert_eq!(orders(2, 8), [[0, 1], [1, 0]]);
    for count in 2..=20 {
        for wanted in 1..=8 {
            let orders = orders(count, wanted);
            assert!(!orders.is_empty() && (orders.len() == wanted || count < 8), "{count} {wanted}");
            for order in orders {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..count), "{order:?}");
            }
        }
    }
}
