//! The contract with whoever asks: as predictor-gbdt's, so that the image can be swapped and nothing else.

use serde_json::{Value, json};

use crate::{
    predictor::{Predictor, v1, v2},
    scripted::{Llm, Reply},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_list_what_the_template_uses() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &["--model-name=shop"]).await;
    let (_, metadata) = predictor.get("/v2/models/shop").await;
    assert_eq!(metadata["platform"], "hemline_llm");
    let inputs = metadata["inputs"].as_array().unwrap();
    let named = |place: usize| inputs[place]["name"].as_str().unwrap();
    assert_eq!(inputs.len(), 18);
    assert_eq!((named(0), named(3), named(13)), ("age", "product_type_name", "garment_group_name"));
    assert_eq!([14, 15, 16, 17].map(named), ["prod_name", "detail_desc", "history", "article_id"]);
    assert_eq!(inputs[0], json!({"name": "age", "datatype": "FP32", "shape": [-1, 1]}));
    assert_eq!(inputs[14]["parameters"], json!({"optional": true}));
    let outputs = json!([
        {"name": "scores", "datatype": "FP32", "shape": [-1]},
        {"name": "article_ids", "datatype": "BYTES", "shape": [-1]},
        {"name": "explanations", "datatype": "BYTES", "shape": [-1]},
    ]);
    assert_eq!(metadata["outputs"], outputs);
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_is_answered_as_v2_is() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    let (status, answer) = predictor.predict(&v1(&["a-0.25", "b-0.75"])).await;
    let expected = json!({"predictions": [{"scores": [0.25, 0.75], "article_ids": ["id0", "id1"]}]});
    assert_eq!((status, answer), (200, expected));
    let (status, answer) = predictor.predict(&v1(&[])).await;
    assert_eq!((status, answer), (200, json!({"predictions": [{"scores": [], "article_ids": []}]})));
    llm.does(|asked| match asked.article() {
        "c" => Reply::Says("Hm.".to_owned()),
        _ => Reply::probability(0.5),
    });
    let (_, answer) = predictor.predict(&v1(&["c", "d"])).await;
    let expected = json!({"predictions": [{"scores": [0.0, 0.5], "article_ids": ["id0", "id1"], "defaults": 1}]});
    assert_eq!(answer, expected);
    llm.does(|_| Reply::Status(404, &[], ""));
    let (_, answer) = predictor.predict(&v1(&["e"])).await;
    let expected =
        json!({"scores": [0.0], "article_ids": ["id0"], "degraded": "the LLM's API refused the call", "defaults": 1});
    assert_eq!(answer["predictions"][0], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_knows_the_ranking_features_is_answered_by_both_protocols() {
    let llm = Llm::doing(|_| Reply::probability(0.5)).await;
    let predictor = Predictor::of(&llm, &[]).await;
    let mut rows = v1(&["a", "b"]);
    for row in rows["instances"][0]["ranking_features"].as_array_mut().unwrap() {
        row.as_array_mut().unwrap().truncate(14);
    }
    assert_eq!(predictor.predict(&rows).await.1["predictions"][0]["scores"], json!([0.5, 0.5]));
    let mut tensors = v2(&["a", "b"]);
    let words = ["prod_name", "history", "article_id"];
    tensors["inputs"].as_array_mut().unwrap().retain(|input| !words.contains(&input["name"].as_str().unwrap()));
    let answer = predictor.infer(&tensors, &[]).await;
    assert_eq!((answer.scores(), answer.body["outputs"].as_array().unwrap().len()), (vec![0.5, 0.5], 1));
    assert!(!llm.asked()[0].user().contains("Name:"), "{}", llm.asked()[0].user());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_the_callers_mistake_and_named() {
    let llm = Llm::reading_names().await;
    let predictor = Predictor::of(&llm, &[]).await;
    let without = |name: &str| {
        let mut request = v2(&["a", "b"]);
        request["inputs"].as_array_mut().unwrap().retain(|input| input["name"] != name);
        request
    };
    let changed = |name: &str, change: fn(&mut Value)| {
        let mut request = v2(&["a", "b"]);
        request["inputs"].as_array_mut().unwrap().iter_mut().filter(|input| input["name"] == name).for_each(change);
        request
    };
    for (request, expected) in [
        (without("age"), "input `age`: missing (expected FP32 [-1, 1])"),
        (changed("age", |input| input["datatype"] = json!("INT32")), "input `age`: expected FP32, got INT32"),
        (
            changed("article_id", |input| {
                input["shape"] = json!([1, 1]);
                input["data"] = json!(["x"]);
            }),
            "input `article_id`: 1 rows, where input `age` has 2",
        ),
    ] {
        let answer = predictor.infer(&request, &[]).await;
        assert_eq!((answer.status, answer.body["error"].as_str().unwrap()), (400, expected));
    }
    let mut rows = v1(&["a"]);
    rows["instances"][0]["ranking_features"][0].as_array_mut().unwrap().truncate(13);
    let (status, answer) = predictor.predict(&rows).await;
    let expected = "instances[0]: field `ranking_features[0]`: expected a list of 14 to 17 values";
    assert_eq!((status, answer["error"].as_str().unwrap()), (400, expected));
    assert_eq!(llm.asked().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_ones_own_decides_what_is_asked_for_and_how() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    let parts = |candidate: &str| {
        format!("system = 'S'\ncustomer = 'C {{{{ age }}}}'\ncandidate = '{candidate}'\nquestion = 'Q'\n")
    };
    let pointwise = parts("- Name: {{ prod_name }} for {{ price }}");
    let (listwise, explain) = (parts("{{ label }}"), parts("This one"));
    let inputs = "[inputs]\nprice = 'FP32'";
    let text = format!("{inputs}\n[pointwise]\n{pointwise}[listwise]\n{listwise}[explain]\n{explain}");
    std::fs::write(&path, text).unwrap();
    let llm = Llm::doing(|_| Reply::probability(0.5)).await;
    let predictor = Predictor::of(&llm, &["--self-test=warn", "--template", path.to_str().unwrap()]).await;
    let (_, metadata) = predictor.get("/v2/models/hemline").await;
    let names: Vec<_> =
        metadata["inputs"].as_array().unwrap().iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["age", "prod_name", "price", "article_id"]);
    let column = |name: &str, datatype: &str, value: Value| json!({"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]});
    let request = json!({"inputs": [column("age", "FP32", json!(31.5)), column("prod_name", "BYTES", json!("Jade")), column("price", "FP32", json!(9))]});
    assert_eq!(predictor.infer(&request, &[]).await.scores(), [0.5]);
    assert_eq!(llm.asked().last().unwrap().user(), "C 31.5\n\n- Name: Jade for 9\n\nQ");
}
