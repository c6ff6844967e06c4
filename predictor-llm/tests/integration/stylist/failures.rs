//! An LLM that is away, slow, of no use, or gone in the middle of a sentence.

use super::{
    Events, LINES, Llm, Piece, Predictor, Reply, Value, event, generate, infer, json, outfit, predict, tensor, wish,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_can_not_be_had_is_an_error_with_its_class() {
    let broken = Reply::Writes(vec![Piece::Text("👖 Pants @ Slim".to_owned()), Piece::Breaks]);
    for (reply, status, code, outcome) in [
        (Reply::Status(500, &[], "in 10.1.2.3"), 503, "upstream_unavailable", "failed"),
        (Reply::Status(429, &[], ""), 503, "upstream_unavailable", "overloaded"),
        (Reply::Status(401, &[], "no key sk-1"), 503, "upstream_unavailable", "rejected"),
        (Reply::Half, 503, "upstream_unavailable", "broken_off"),
        (broken, 503, "upstream_unavailable", "broken_off"),
        (Reply::written(" \n"), 502, "upstream_invalid", "no_items"),
        (Reply::written("<think>👖 Pants @ Slim |"), 502, "upstream_invalid", "no_items"),
    ] {
        let llm = Llm::doing(move |_| reply.clone()).await;
        let predictor = Predictor::of(&llm, &["--llm-retries=0"]).await;
        let (got, answer) = generate(&predictor, &wish("beach")).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{outcome}: {answer}");
        assert!(!answer.to_string().contains("10.1.2.3") && !answer.to_string().contains("sk-1"));
        let (got, answer) = predict(&predictor, &json!({"instances": [{"request": "beach"}]})).await;
        assert_eq!((got, &answer["code"]), (status, &json!(code)), "{outcome}: {answer}");
        assert_eq!(predictor.counts("llm_stylist_requests_total").await[outcome], 2.0);
        assert_eq!(predictor.ready().await.0, 200, "it was ready once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_is_too_slow_is_504_and_what_it_had_written_stays() {
    let llm = Llm::doing(|_| Reply::Hangs).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let asking =
        || predictor.post("/v2/models/stylist/generate_stream", &wish("beach")).header("x-request-timeout", "300ms");
    let late = asking().send().await.unwrap();
    assert_eq!(late.status().as_u16(), 504);
    assert!(late.text().await.unwrap().contains("upstream_timeout"));
    llm.does(|_| Reply::Writes(vec![Piece::Text("👖 Pants @ Slim-fit dark jeans | 👕 To".to_owned()), Piece::Hangs]));
    let events = Events { response: asking().send().await.unwrap(), read: String::new() }.rest().await;
    assert_eq!(events[0], outfit("lines")[0]);
    assert_eq!((events.len(), &events[2].1["fallback"]), (3, &json!("deadline")));
    predictor.until(async || llm.left() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_llm_that_breaks_off_leaves_the_items_that_were_complete() {
    let pieces = vec![Piece::Text("👖 Pants @ Slim-fit dark jeans | 👕 Top @ Wh".to_owned()), Piece::Breaks];
    let llm = Llm::doing(move |_| Reply::Writes(pieces.clone())).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let events = Events::of(&predictor, &wish("beach")).await.rest().await;
    let done = json!({"llm": "scripted-1", "form": "lines", "items": 1, "fallback": "broken_off", "degraded": "the LLM failed"});
    let expected = [
        outfit("lines")[0].clone(),
        event("summary", json!({"summary": "No summary available."})),
        event("done", done),
    ];
    assert_eq!(events, expected);
    let (_, answer) = predict(&predictor, &json!({"instances": [{"request": "beach"}]})).await;
    let prediction = &answer["predictions"][0];
    assert_eq!((&prediction["degraded"], prediction["items"].as_array().unwrap().len()), (&json!("the LLM failed"), 1));
    // An error that the API tells within its answer, and an end without a word, are no ends.
    for tail in [": [{\"delta\": {}}], \"error\": {\"message\": \"oom\"}", ""] {
        let body = format!(
            "data: {{\"choices\": [{{\"delta\": {{\"content\": \"👖 Pants @ Slim |\"}}}}]}}\n\ndata: {{\"choices\"{tail}}}\n\n"
        );
        let body: &'static str =
            if tail.is_empty() { body.split_inclusive("\n\n").next().unwrap().to_owned().leak() } else { body.leak() };
        llm.does(move |_| Reply::Status(200, &[("content-type", "text/event-stream")], body));
        let events = Events::of(&predictor, &wish("beach")).await.rest().await;
        assert!(events.last().unwrap().1["fallback"].is_string(), "{events:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_was_cut_has_the_items_that_it_has() {
    let cut =
        Reply::Writes(vec![Piece::Text("👖 Pants @ Slim | 👕 Top @ White cot".to_owned()), Piece::Ends("length")]);
    let llm = Llm::doing(move |_| cut.clone()).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let events = Events::of(&predictor, &wish("beach")).await.rest().await;
    assert_eq!((events.len(), &events[3].1["fallback"]), (4, &json!("truncated")), "{events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_budget_nothing_is_asked() {
    let llm = Llm::doing(|_| Reply::written(LINES)).await;
    let predictor = Predictor::of(&llm, &["--max-tokens-per-minute=2600"]).await;
    // The self-test has spent of it what the API says; an outfit is reckoned before it is asked for.
    let mut refused = None;
    for _ in 0..20 {
        let (status, answer) = predict(&predictor, &json!({"instances": [{"request": "beach"}]})).await;
        if status != 200 {
            refused = Some((status, answer));
            break;
        }
    }
    let (status, answer) = refused.unwrap();
    assert_eq!((status, &answer["error"]), (503, &json!("the budget for the LLM is spent")));
    assert_eq!(predictor.counts("llm_budget_exhausted_total").await["tokens_per_minute"], 1.0);
    assert_eq!(predictor.counts("llm_stylist_requests_total").await["budget"], 1.0);
    let before = llm.asked().len();
    assert_eq!((generate(&predictor, &wish("beach")).await.0, llm.asked().len()), (503, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_rows_one_that_failed_is_empty() {
    let llm = Llm::doing(|asked| match asked.user().contains("snow") {
        true => Reply::Status(404, &[], ""),
        false => Reply::written(LINES),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    let answer = infer(&predictor, &json!({"inputs": [tensor("request", &["beach", "snow"])]})).await;
    assert_eq!(answer.output("summary"), ["Plain and good.", "No summary available."]);
    assert_eq!(answer.output("items")[1], Value::from("[]"));
    assert_eq!(answer.parameter("degraded"), &json!("the LLM's API refused the call"));
    let answer = infer(&predictor, &json!({"inputs": [tensor("request", &["snow", "snow"])]})).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_thinks_has_room_for_it_and_its_thoughts_are_no_items() {
    let llm = Llm::doing(|asked| match asked.number {
        0 => Reply::Writes(vec![Piece::Text("<think>👖 Pants @ No | ".to_owned()), Piece::Ends("length")]),
        _ => Reply::written(&format!("<think>👖 Pants @ No | no</think>\n\n{LINES}")),
    });
    let llm = llm.await;
    let predictor = Predictor::of(&llm, &[]).await;
    assert_eq!(Events::of(&predictor, &wish("beach")).await.rest().await, outfit("lines"));
    let limits: Vec<u64> = llm.asked().iter().map(|asked| asked.body["max_tokens"].as_u64().unwrap()).collect();
    assert_eq!(limits.len(), 2);
    assert!(limits[1] > limits[0], "{limits:?}");
}
