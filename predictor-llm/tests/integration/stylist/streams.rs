//! Item by item, while the LLM writes.

use super::{
    Arc, Duration, Events, JSON, LINES, Llm, Notify, Piece, Predictor, Reply, event, generate, json, outfit, wish,
};

#[tokio::test(flavor = "multi_thread")]
async fn items_arrive_one_by_one_before_the_llm_has_finished() {
    let gates: Vec<_> = (0..3).map(|_| Arc::new(Notify::new())).collect();
    for (text, marks) in
        [(LINES, ["| 👕", "| 👟", "| Plain"]), (JSON, [", {\"emoji\": \"👕", ", {\"emoji\": \"👟", "], \"summary"])]
    {
        let (mut pieces, mut from) = (Vec::new(), 0);
        for (mark, gate) in marks.iter().zip(&gates) {
            let to = text.find(mark).unwrap() + 2;
            pieces.extend([Piece::Text(text[from..to].to_owned()), Piece::Gate(gate.clone())]);
            from = to;
        }
        pieces.extend([Piece::Text(text[from..].to_owned()), Piece::Ends("stop")]);
        let llm = Llm::doing(move |_| Reply::Writes(pieces.clone())).await;
        let predictor = Predictor::of(&llm, &[]).await;
        let mut events = Events::of(&predictor, &wish("beach")).await;
        let expected = outfit(if text == JSON { "json" } else { "lines" });
        for (gate, item) in gates.iter().zip(&expected) {
            // The LLM writes nothing more before this one was seen.
            assert_eq!(events.next().await.as_ref(), Some(item));
            gate.notify_one();
        }
        assert_eq!(events.rest().await, expected[3..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_are_read_and_an_api_that_does_not_stream_is_too() {
    let llm = Llm::doing(|_| Reply::written(JSON)).await;
    let predictor = Predictor::of(&llm, &[]).await;
    assert_eq!(Events::of(&predictor, &wish("beach")).await.rest().await, outfit("json"));
    let asked = llm.asked().remove(0).body;
    assert_eq!(asked["response_format"]["json_schema"]["name"], "outfit");
    assert_eq!((&asked["stream"], &asked["stream_options"]["include_usage"]), (&json!(true), &json!(true)));
    for reply in [Reply::written(LINES), Reply::Says(LINES.to_owned())] {
        llm.does(move |_| reply.clone());
        assert_eq!(Events::of(&predictor, &wish("beach")).await.rest().await, outfit("lines"));
    }
    let counted = predictor.counts("llm_stylist_items_total").await;
    assert_eq!((counted["json"], counted["lines"]), (3.0, 6.0));
    assert_eq!(predictor.counts("llm_stylist_requests_total").await["ok"], 3.0);
    assert!(predictor.counts("llm_tokens_total").await["completion"] >= 30.0, "usage is told behind the pieces");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_schema_is_asked_for_lines_and_one_without_streams_for_all_at_once() {
    let refuses = |what: &'static str| {
        move |asked: &crate::scripted::Asked| match asked.body[what].is_null() {
            false => Reply::Status(400, &[], Box::leak(format!("`{what}` is not supported").into_boxed_str())),
            true if asked.body["stream"] == true => Reply::written(LINES),
            true => Reply::Says(LINES.to_owned()),
        }
    };
    for what in ["response_format", "stream", "stream_options"] {
        let llm = Llm::doing(refuses(what)).await;
        let predictor = Predictor::of(&llm, &[]).await;
        for _ in 0..2 {
            assert_eq!(Events::of(&predictor, &wish("beach")).await.rest().await, outfit("lines"), "{what}");
        }
        let asked = llm.asked();
        assert_eq!(asked.len(), 3, "{what}: refused once, and not sent again");
        assert!(asked[1].body["stream_options"].is_null() || what == "response_format");
        assert_eq!(asked[1].user().contains(" @ "), what == "response_format", "{}", asked[1].user());
        assert!(!asked[0].user().contains(" @ "), "{}", asked[0].user());
    }
    let llm = Llm::doing(|_| Reply::written(LINES)).await;
    let predictor = Predictor::of(&llm, &["--structured-output=off"]).await;
    Events::of(&predictor, &wish("beach")).await.rest().await;
    assert!(llm.asked()[0].body["response_format"].is_null() && llm.asked()[0].user().contains(" @ "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_leaves_ends_the_call() {
    // Before the first item, and after it.
    for text in ["👖 Pants", "👖 Pants @ Slim-fit dark jeans | "] {
        let llm = Llm::doing(move |_| Reply::Writes(vec![Piece::Text(text.to_owned()), Piece::Hangs])).await;
        let predictor = Predictor::of(&llm, &["--concurrency=1"]).await;
        let asking = predictor.post("/v2/models/stylist/generate_stream", &wish("beach"));
        let asking = tokio::spawn(async move { asking.send().await.unwrap().text().await });
        predictor.until(async || llm.asked().len() == 1).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(llm.left(), 0);
        asking.abort();
        predictor.until(async || llm.left() == 1).await;
        assert_eq!(predictor.counts("llm_stylist_requests_total").await["abandoned"], 1.0);
        // The only place is free again.
        llm.does(|_| Reply::written(LINES));
        assert_eq!(Events::of(&predictor, &wish("beach")).await.rest().await, outfit("lines"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_finds_no_end_is_left() {
    let endless = (0..500).map(|number| Piece::Text(format!("👖 Pants @ Jeans number {number} | ")));
    let endless: Vec<_> = endless.chain([Piece::Hangs]).collect();
    let llm = Llm::doing(move |_| Reply::Writes(endless.clone())).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let events = Events::of(&predictor, &wish("beach")).await.rest().await;
    assert_eq!(events.len(), 7, "{events:?}");
    assert_eq!(events[5], event("summary", json!({"summary": "No summary available."})));
    // Not because the time was over.
    assert_eq!((&events[6].1["items"], &events[6].1["fallback"]), (&json!(5), &json!(null)));
    predictor.until(async || llm.left() == 1).await;
    let fallbacks = predictor.counts("llm_stylist_fallbacks_total").await;
    assert_eq!((fallbacks["too_many"], fallbacks["no_summary"]), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_wish_is_the_callers_mistake_and_named() {
    let llm = Llm::doing(|_| Reply::written(LINES)).await;
    let predictor = Predictor::of(&llm, &[]).await;
    for (body, status, expected) in [
        (json!({}), 400, "field `text_input`: expected text"),
        (json!({"text_input": 7}), 400, "field `text_input`: expected text"),
        (wish(" \n"), 400, "field `text_input`: expected a text that says something"),
        (wish(&"x".repeat(2001)), 400, "field `text_input`: expected at most 2000 characters, got 2001"),
        (wish(&"x".repeat(100_000)), 400, "field `text_input`: expected at most 2000 characters, got 100000"),
        (json!({"text_input": "x", "parameters": []}), 400, "field `parameters`: expected an object"),
        (json!({"text_input": "x", "parameters": {"gender": 1}}), 400, "field `parameters.gender`: expected text"),
        (
            json!({"text_input": "x", "parameters": {"gender": "x"}}),
            400,
            "field `parameters.gender`: expected `women`, `men` or `any`",
        ),
        (
            json!({"text_input": "x", "parameters": {"profile": "x"}}),
            400,
            "field `parameters.profile`: expected an object",
        ),
        (json!([]), 400, "the body is no JSON object with a `text_input`"),
    ] {
        let (got, answer) = generate(&predictor, &body).await;
        assert_eq!((got, answer["error"].as_str().unwrap()), (status, expected));
    }
    let post = async |path: &str| predictor.post(path, &wish("beach")).send().await.unwrap().status().as_u16();
    assert_eq!(post("/v2/models/hemline/generate_stream").await, 501);
    assert_eq!(post("/v2/models/nobody/generate_stream").await, 404);
    assert_eq!(predictor.get("/v2/models/stylist/generate_stream").await.0, 405);
    assert_eq!(llm.asked().len(), 0);
}
