//! Plans and what they make of candidates, over a small bundle of the catalogue's own fixture.

use std::collections::HashMap;

use catalog::{
    articles::Articles,
    bundle::{Bundle, sha256},
};
use dataplane::{Datatype, ModelMetadata, Tensor, TensorMetadata};
use serde_json::{Value, json};

use super::{Number, Numbers, Plan, RequestFeatures};
use crate::{candidates::Candidate, history::History, instance::Season};

#[path = "../../../catalog/tests/integration/fixture.rs"]
#[allow(dead_code)] // what the catalogue's own tests need beside
mod fixture;

const COLOUR: &str = "colour_group_name";

fn articles() -> Articles {
    let bundle = fixture::bundle(&[]);
    Articles::open(&Bundle::open(bundle.path()).unwrap(), &[COLOUR]).unwrap()
}

fn numbers() -> Numbers {
    HashMap::from([("price".to_owned(), Number::Column("price".to_owned()))])
}

/// A ranker of age, colour and price that takes them encoded too, as these columns.
fn ranker(columns: &Value) -> ModelMetadata {
    let encoding = columns.to_string();
    let input = format!("encoded_{}", &sha256(encoding.as_bytes())["sha256:".len()..][..8]);
    let width = i64::try_from(columns.as_array().map_or(0, Vec::len)).unwrap();
    ModelMetadata {
        inputs: vec![
            TensorMetadata::new("age", Datatype::Fp32, &[-1, 1]),
            TensorMetadata::new(COLOUR, Datatype::Bytes, &[-1, 1]),
            TensorMetadata::new("price", Datatype::Fp32, &[-1, 1]),
            TensorMetadata::optional("article_id", Datatype::Bytes, &[-1, 1]),
            TensorMetadata::alternative(input, Datatype::Fp32, &[-1, width]),
        ],
        properties: [("encoding".to_owned(), encoding)].into(),
        ..ModelMetadata::default()
    }
}

fn columns(red: f32) -> Value {
    json!([{"name": "age"}, {"name": COLOUR, "unknown": -1.0, "categories": {"Red": red, "Black": 2.0}}, {"name": "price"}])
}

fn plan(ranker: &ModelMetadata) -> Plan {
    Plan::new(ranker, &articles(), &numbers()).unwrap()
}

fn request() -> RequestFeatures {
    let season = Season { month_sin: 0.5, month_cos: -0.5 };
    RequestFeatures { age: 41.0, age_group: 0, season, history: String::new(), touched: History::default() }
}

/// What a ranker is asked with about the candidates of these rows.
fn asked(plan: &Plan, rows: &[u32]) -> Vec<Tensor> {
    let of = |&row: &u32| Candidate { row, score: 0.0, rank: 0, alike: 0.0, found_by: [true, false, false] };
    plan.request(&articles(), &rows.iter().map(of).collect::<Vec<_>>(), &request()).unwrap()
}

fn names(plan: &Plan) -> Vec<String> {
    asked(plan, &[0]).iter().map(|tensor| tensor.name().to_owned()).collect()
}

const PLAIN: [&str; 4] = ["age", COLOUR, "price", "article_id"];

#[test]
fn a_ranker_that_says_how_it_encodes_gets_one_matrix_of_a_row_for_each_candidate() {
    let ranker = ranker(&columns(7.0));
    let asked = asked(&plan(&ranker), &[4, 2, 0]);
    assert_eq!((asked.len(), asked[0].name(), asked[0].shape()), (1, ranker.inputs[4].name.as_str(), &[3, 3][..]));
    // Rows 4, 2 and 0 are black, blue and red; blue is no category of the ranker's.
    let wanted = [[41.0, 2.0, 0.04], [41.0, -1.0, 0.02], [41.0, 7.0, 0.0]];
    assert_eq!(asked[0].as_f32().unwrap(), wanted.concat());
}

#[test]
fn people_are_told_the_features_of_such_a_ranker_as_they_know_them() {
    let plan = plan(&ranker(&columns(7.0)));
    let tensors = plan.tensors(&articles(), &[], &request()).unwrap();
    assert_eq!(tensors.iter().map(Tensor::name).collect::<Vec<_>>(), PLAIN);
}

#[test]
fn an_encoding_that_can_not_be_used_leaves_the_plain_form() {
    let changed = |change: &dyn Fn(&mut ModelMetadata)| {
        let mut ranker = ranker(&columns(7.0));
        change(&mut ranker);
        names(&plan(&ranker))
    };
    assert_eq!(changed(&|_| ()).len(), 1);
    assert_eq!(changed(&|ranker| ranker.properties.clear()), PLAIN);
    assert_eq!(changed(&|ranker| ranker.inputs[4].name = "encoded_00000000".to_owned()), PLAIN);
    assert_eq!(changed(&|ranker| ranker.inputs[4].datatype = Datatype::Fp64), PLAIN);
    assert_eq!(changed(&|ranker| ranker.inputs[4].shape = vec![-1, 4]), PLAIN);
    for unusable in [
        json!([]),
        json!({"columns": columns(7.0)}),
        json!([{"name": "weather"}]),
        json!([{"name": COLOUR}]),
        json!([{"name": "age", "unknown": -1.0, "categories": {}}]),
        json!([{"name": COLOUR, "categories": {"Red": 7.0}}]),
        json!([{"name": COLOUR, "unknown": -1.0, "categories": {"Red": null}}]),
    ] {
        assert_eq!(names(&plan(&ranker(&unusable))), PLAIN, "{unusable}");
    }
}

#[test]
fn a_ranker_of_another_encoding_has_another_plan() {
    let (one, other) = (ranker(&columns(7.0)), ranker(&columns(8.0)));
    assert_eq!(plan(&one), plan(&one));
    assert_ne!(plan(&one), plan(&other));
    assert_ne!(names(&plan(&one)), names(&plan(&other)));
}
