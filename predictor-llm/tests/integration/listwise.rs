//! One call for all candidates: labels, their probabilities, several orders.

use serde_json::{Value, json};

use crate::{
    predictor::{Predictor, named, v2},
    scripted::{Asked, Llm, Reply, in_name},
};

const LABELS: &str = "ABCDEFGHIJKLMNOPQRST";

/// Gives each label what its article's name says.
fn reading_names(asked: &Asked) -> Reply {
    let labels = LABELS.chars().map(String::from).collect::<Vec<_>>();
    let tops = labels.iter().zip(asked.labelled()).map(|(label, name)| (label.as_str(), in_name(name)));
    Reply::labels(&tops.collect::<Vec<_>>())
}

/// Likes what stands first, whatever it is.
fn biased(_: &Asked) -> Reply {
    Reply::labels(&[("A", 0.5), ("B", 0.3), ("C", 0.2)])
}

async fn listwise(llm: &Llm, arguments: &[&str]) -> Predictor {
    Predictor::of(llm, &[&["--strategy=listwise"], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_of_one_token_scores_all_candidates() {
    let llm = Llm::doing(reading_names).await;
    let predictor = listwise(&llm, &[]).await;
    let answer = predictor.score(&["a-0.1", "b-0.5", "c-0.4"]).await;
    assert_eq!((answer.status, answer.scores()), (200, vec![0.1, 0.5, 0.4]));
    assert_eq!(answer.parameter("strategy"), &json!("listwise"));
    assert!(answer.parameter("kendall_tau").is_null(), "there is one order only");
    let asked = llm.asked();
    assert_eq!(asked.len(), 1);
    let body = &asked[0].body;
    assert_eq!((&body["max_tokens"], &body["logprobs"], &body["top_logprobs"]), (&json!(1), &json!(true), &json!(20)));
    assert!(body.get("response_format").is_none());
    assert_eq!(asked[0].labelled(), ["a-0.1", "b-0.5", "c-0.4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_candidates_are_twenty_labels_of_one_call() {
    let llm = Llm::doing(reading_names).await;
    let predictor = listwise(&llm, &[]).await;
    let names = named(100);
    let answer = predictor.score(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!((answer.scores().len(), answer.ids().len(), llm.asked().len()), (20, 20, 1));
    assert!(llm.asked()[0].user().contains("A to T"));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_orders_even_out_what_places_do_and_tell_how_far_they_agree() {
    let llm = Llm::doing(biased).await;
    let predictor = listwise(&llm, &["--permutations=2"]).await;
    let answer = predictor.score(&["a-0", "b-0", "c-0"]).await;
    // (0.5 + 0.2) / 2, (0.3 + 0.3) / 2, (0.2 + 0.5) / 2
    assert_eq!((answer.scores(), llm.asked().len()), (vec![0.35, 0.3, 0.35], 2));
    assert_eq!(answer.parameter("kendall_tau"), &json!(-1.0));
    assert!(predictor.metric("llm_permutation_kendall_tau_sum").await < 0.0);
    llm.does(reading_names);
    let agreeing = predictor.score(&["d-0.1", "e-0.5", "f-0.4"]).await;
    assert_eq!((agreeing.scores(), agreeing.parameter("kendall_tau")), (vec![0.1, 0.5, 0.4], &json!(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fails_is_left_out_of_the_mean() {
    let llm = Llm::doing(|asked| match asked.labelled()[0] {
        "a-0" => Reply::Status(404, &[], "gone"),
        _ => biased(asked),
    });
    let llm = llm.await;
    let predictor = listwise(&llm, &["--permutations=2"]).await;
    let answer = predictor.score(&["a-0", "b-0", "c-0"]).await;
    assert_eq!((answer.scores(), answer.parameter("defaults")), (vec![0.2, 0.3, 0.5], &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_api_gives_no_probabilities_it_is_pointwise_for_good_and_says_so_once() {
    for refused in [false, true] {
        let without = move |asked: &Asked| match asked.body["logprobs"] == true {
            true if refused => Reply::Status(400, &[], r#"{"error": "logprobs are not supported"}"#),
            true => Reply::Says("A".to_owned()),
            false => Reply::probability(in_name(asked.article())),
        };
        let llm = Llm::doing(without).await;
        let predictor = listwise(&llm, &[]).await;
        for number in 0..2 {
            let names = [format!("a{number}-0.25"), format!("b{number}-0.75")];
            let answer = predictor.score(&[&names[0], &names[1]]).await;
            assert_eq!((answer.scores(), answer.parameter("strategy")), (vec![0.25, 0.75], &json!("pointwise")));
        }
        let listwise = llm.asked().iter().filter(|asked| asked.body["logprobs"] == true).count();
        assert!(listwise <= 2, "it is tried once, at most with and without an option: {listwise}");
        let told = predictor.lines().iter().filter(|line| line.contains("gives no probabilities")).count();
        assert_eq!(told, 1);
        let strategies = predictor.counts("llm_strategy_info").await;
        assert_eq!((strategies["pointwise"], strategies["listwise"]), (1.0, 0.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_compared_is_scored_pointwise() {
    let llm = Llm::doing(|asked| match asked.body["logprobs"] == true {
        true => biased(asked),
        false => Reply::probability(in_name(asked.article())),
    });
    let llm = llm.await;
    let predictor = listwise(&llm, &[]).await;
    let alone = predictor.score(&["a-0.25"]).await;
    assert_eq!((alone.scores(), alone.parameter("strategy")), (vec![0.25], &json!("pointwise")));
    let mut two_customers = v2(&["a-0.25", "b-0.75"]);
    let age = two_customers["inputs"].as_array_mut().unwrap().iter_mut().find(|input| input["name"] == "age").unwrap();
    age["data"] = json!([31, 62]);
    let answer = predictor.infer(&two_customers, &[]).await;
    assert_eq!((answer.scores(), answer.parameter("strategy")), (vec![0.25, 0.75], &json!("pointwise")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_is_a_default_for_all_that_it_asked_about() {
    let llm = Llm::doing(|_| Reply::labels(&[("The", 0.9), ("I", 0.1)])).await;
    let predictor = listwise(&llm, &[]).await;
    let answer = predictor.score(&["a-0", "b-0"]).await;
    assert_eq!((answer.scores(), answer.parameter("defaults")), (vec![0.0, 0.0], &json!(2)));
    assert!(answer.parameter("degraded").is_null(), "the LLM did answer");
    assert_eq!(predictor.counts("llm_candidates_total").await["no_marker"], 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thought_is_no_answer_and_gets_its_room() {
    let thought = |asked: &Asked| {
        if asked.body["max_tokens"].as_u64().unwrap() < 1000 {
            return Reply::labels(&[("<think>", 0.9), ("A", 0.1)]);
        }
        let top = |tops: &[(&str, f64)]| {
            let tops = tops.iter().map(|(token, probability)| json!({"token": token, "logprob": probability.ln()}));
            json!({"token": tops.clone().next().unwrap()["token"], "logprob": 0.0, "top_logprobs": tops.collect::<Vec<_>>()})
        };
        let tokens = json!([
            top(&[("<think>", 1.0)]),
            top(&[("A", 1.0)]),
            top(&[("</think>", 1.0)]),
            top(&[("B", 0.75), ("A", 0.25)])
        ]);
        Reply::Json(
            json!({"choices": [{"message": {"content": "<think>A</think>B"}, "finish_reason": "stop", "logprobs": {"content": tokens}}]}),
        )
    };
    let llm = Llm::doing(thought).await;
    let predictor = listwise(&llm, &[]).await;
    assert_eq!(predictor.score(&["a-0", "b-0"]).await.scores(), [0.25, 0.75]);
    assert_eq!(llm.asked().len(), 2);
}
