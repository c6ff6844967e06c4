//! The bundle's `ranker/contributions.json`: the ranker's trees with what ONNX does not keep of them, and what each feature adds to a score.

use std::collections::HashMap;

use catalog::bundle;
use dataplane::{Data, Datatype, Error, InferRequest, Result, Tensor};
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    encoding::Encoding,
    shap::{Leaf, Tree},
};

/// The trees of a ranker, and how its features become numbers.
pub(crate) struct Contributions {
    features: Vec<Feature>,
    /// The same, as callers are told it who encode features themselves.
    pub(crate) encoding: Encoding,
    scale: f64,
    /// The mean margin over training.
    base: f64,
    trees: Vec<Tree>,
}

/// A feature of the ranker.
#[derive(Deserialize)]
pub(crate) struct Feature {
    pub(crate) name: String,
    pub(crate) datatype: String,
    /// The number of each category, of a feature that is text.
    #[serde(default)]
    pub(crate) numbers: HashMap<String, f32>,
    /// The number of all other texts.
    #[serde(default)]
    pub(crate) unknown: f32,
}

/// Why a row has its score: `base` and all of `contributions` add up to `margin`, whose logistic function is the score.
#[derive(Serialize)]
pub(crate) struct Explanation<'a> {
    base: f64,
    pub(crate) margin: f64,
    contributions: Named<'a>,
}

/// A number for each feature, in their order.
struct Named<'a> {
    features: &'a [Feature],
    values: Vec<f64>,
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.features.iter().map(|feature| &feature.name).zip(&self.values))
    }
}

/// The file as it is written.
#[derive(Deserialize)]
struct File {
    features: Vec<Feature>,
    scale: f64,
    bias: f64,
    trees: Vec<TreeOfFile>,
}

#[derive(Deserialize)]
struct TreeOfFile {
    splits: Vec<(usize, f32)>,
    leaves: Vec<u32>,
    values: Vec<f64>,
    weights: Vec<f64>,
}

impl Contributions {
    /// Reads the file of a ranker that takes `wanted`.
    ///
    /// # Errors
    /// It is no such file, or another ranker's.
    pub(crate) fn read(content: &[u8], wanted: &[bundle::Feature]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        let found = file.features.iter().map(|feature| (&feature.name, &feature.datatype));
        if !found.eq(wanted.iter().map(|feature| (&feature.name, &feature.datatype))) {
            return Err("its features are not those of the manifest".to_owned());
        }
        let types = [Datatype::Fp32.name(), Datatype::Bytes.name()];
        if let Some(Feature { name, datatype, .. }) =
            file.features.iter().find(|feature| !types.contains(&feature.datatype.as_str()))
        {
            return Err(format!("feature `{name}`: expected FP32 or BYTES, got {datatype}"));
        }
        let width = file.features.len();
        let trees = file.trees.into_iter().enumerate();
        let trees = trees.map(|(number, tree)| tree.check(width).map_err(|reason| format!("tree {number}: {reason}")));
        let trees = trees.collect::<Result<Vec<_>, _>>()?;
        let base = file.bias + file.scale * trees.iter().map(Tree::base).sum::<f64>();
        if !base.is_finite() {
            return Err("its scale or bias is no number".to_owned());
        }
        let encoding = Encoding::of(&file.features)?;
        Ok(Self { features: file.features, encoding, scale: file.scale, base, trees })
    }

    /// Explains each row of a request.
    ///
    /// # Errors
    /// An input is missing, of another datatype, or has another number of rows than the first.
    pub(crate) fn explain(&self, request: &InferRequest) -> Result<Vec<Explanation<'_>>> {
        let columns = self.columns(request)?;
        let (rows, width) = (columns.first().map_or(0, Vec::len), columns.len());
        if let Some(feature) = columns.iter().position(|column| column.len() != rows) {
            let (name, got) = (&self.features[feature].name, columns[feature].len());
            return Err(Error::invalid(format!("input `{name}`: expected {rows} rows, got {got}")));
        }
        let mut values = vec![vec![0.0; width]; rows];
        for tree in &self.trees {
            for (row, values) in values.iter_mut().enumerate() {
                let added = tree.contributions(tree.leaf(|column| columns[column][row]));
                for (column, added) in tree.columns().zip(added.iter()) {
                    values[column] += self.scale * *added;
                }
            }
        }
        Ok(values.into_iter().map(|values| self.explanation(values)).collect())
    }

    /// The numbers of each feature, whichever way the request has them.
    fn columns(&self, request: &InferRequest) -> Result<Vec<Vec<f32>>> {
        let width = self.features.len();
        let column = |values: &[f32], column| values.iter().skip(column).step_by(width).copied().collect();
        match request.input(&self.encoding.input.name).map(Tensor::data) {
            Some(Data::Fp32(values)) => Ok((0..width).map(|number| column(values, number)).collect()),
            _ => self.features.iter().map(|feature| feature.numbers(request)).collect(),
        }
    }

    fn explanation(&self, values: Vec<f64>) -> Explanation<'_> {
        let margin = self.base + values.iter().sum::<f64>();
        Explanation { base: self.base, margin, contributions: Named { features: &self.features, values } }
    }
}

impl Feature {
    /// The input of this feature as the trees see it, a number a row.
    fn numbers(&self, request: &InferRequest) -> Result<Vec<f32>> {
        match request.required(&self.name)?.data() {
            Data::Fp32(values) if self.datatype == Datatype::Fp32.name() => Ok(values.clone()),
            Data::Bytes(texts) if self.datatype == Datatype::Bytes.name() => {
                let number = |text| std::str::from_utf8(text).ok().and_then(|text| self.numbers.get(text)).copied();
                Ok(texts.iter().map(|text| number(text).unwrap_or(self.unknown)).collect())
            }
            other => {
                let (name, wanted, got) = (&self.name, &self.datatype, other.datatype().name());
                Err(Error::invalid(format!("input `{name}`: expected {wanted}, got {got}")))
            }
        }
    }
}

impl TreeOfFile {
    fn check(self, width: usize) -> Result<Tree, String> {
        let Self { splits, leaves, values, weights } = self;
        if let Some((column, _)) = splits.iter().find(|(column, _)| *column >= width) {
            return Err(format!("a split by feature {column} of {width}"));
        }
        if leaves.len() != values.len() || leaves.len() != weights.len() {
            return Err(format!("{} leaves, {} values, {} weights", leaves.len(), values.len(), weights.len()));
        }
        let leaves = leaves.into_iter().zip(values).zip(weights);
        Tree::new(splits, leaves.map(|((number, value), weight)| Leaf { number, value, weight }).collect())
    }
}

#[cfg(test)]
mod tests {
    use catalog::bundle;
    use dataplane::{BytesData, Data, InferRequest, Tensor};
    use serde_json::{Value, json};

    use super::Contributions;

    fn wanted() -> Vec<bundle::Feature> {
        let feature = |(name, datatype): (&str, &str)| (name.to_owned(), datatype.to_owned());
        let features = [("age", "FP32"), ("kind", "BYTES")].map(feature);
        features.map(|(name, datatype)| bundle::Feature { name, datatype, function: None, column: None }).into()
    }

    /// One tree: young or old, then dress (3) or another.
    fn file() -> Value {
        json!({
            "features": [
                {"name": "age", "datatype": "FP32"},
                {"name": "kind", "datatype": "BYTES", "numbers": {"Dress": 3.0}, "unknown": -1.0},
            ],
            "scale": 2.0, "bias": 1.0,
            "trees": [{
                "splits": [[0, 40.0], [1, 0.5]],
                "leaves": [0, 1, 2, 3], "values": [0.0, 1.0, 2.0, 4.0], "weights": [1, 1, 1, 1],
            }],
        })
    }

    fn read(file: &Value) -> Result<Contributions, String> {
        Contributions::read(file.to_string().as_bytes(), &wanted())
    }

    fn asked(ages: Vec<f32>, kinds: &[&str]) -> InferRequest {
        let kinds = Data::Bytes(kinds.iter().collect::<BytesData>());
        InferRequest::of(vec![Tensor::column("age", ages), Tensor::column("kind", kinds)])
    }

    #[test]
    fn what_features_add_to_the_base_is_the_margin() {
        let contributions = read(&file()).unwrap();
        let explained = contributions.explain(&asked(vec![50.0, f32::NAN], &["Dress", "Hat"])).unwrap();
        let texts: Vec<Value> = explained.iter().map(|row| serde_json::to_value(row).unwrap()).collect();
        assert_eq!(texts[0], json!({"base": 4.5, "margin": 9.0, "contributions": {"age": 1.75, "kind": 2.75}}));
        assert_eq!(texts[1], json!({"base": 4.5, "margin": 1.0, "contributions": {"age": -1.25, "kind": -2.25}}));
    }

    #[test]
    fn features_that_the_caller_encoded_are_explained_alike() {
        let contributions = read(&file()).unwrap();
        let input = &contributions.encoding.input.name;
        let rows = vec![50.0_f32, 3.0, f32::NAN, -1.0];
        let encoded = InferRequest::of(vec![Tensor::new(input, vec![2, 2], rows).unwrap()]);
        let explained = |request| serde_json::to_value(contributions.explain(request).unwrap()).unwrap();
        assert_eq!(explained(&encoded), explained(&asked(vec![50.0, f32::NAN], &["Dress", "Hat"])));
    }

    #[test]
    fn inputs_that_do_not_fit_are_named() {
        let contributions = read(&file()).unwrap();
        let refusal = |request| contributions.explain(&request).err().unwrap().message().to_owned();
        assert_eq!(refusal(asked(vec![50.0], &["Dress", "Hat"])), "input `kind`: expected 1 rows, got 2");
        assert_eq!(refusal(InferRequest::of(vec![])), "input `age`: missing");
        let wrong = InferRequest::of(vec![Tensor::column("age", vec![1_i64])]);
        assert_eq!(refusal(wrong), "input `age`: expected FP32, got INT64");
    }

    #[test]
    fn a_file_that_is_not_this_rankers_is_refused() {
        let changed = |pointer: &str, value: Value| {
            let mut file = file();
            *file.pointer_mut(pointer).unwrap() = value;
            read(&file).err().unwrap()
        };
        assert!(changed("/features/0/name", json!("years")).contains("manifest"));
        assert!(changed("/trees", json!(7)).contains("expected a sequence"));
        assert_eq!(changed("/trees/0/splits/0/0", json!(2)), "tree 0: a split by feature 2 of 2");
        assert_eq!(changed("/trees/0/values", json!([])), "tree 0: 4 leaves, 0 values, 4 weights");
        assert!(changed("/trees/0/leaves/3", json!(4)).starts_with("tree 0: "));
    }
}
