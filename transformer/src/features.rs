//! Step 5: what the ranker is told of each candidate. Row i of every tensor is about candidate i, always.

mod numbers;

use catalog::articles::Articles;
use dataplane::{BytesData, Data, Datatype, Error, ModelMetadata, Result, Tensor, TensorMetadata, v1::EXPLANATIONS};

use crate::{candidates::Candidate, history::History, instance::Season};
pub(crate) use numbers::{Numbers, defined};

use numbers::Number;

/// The input that names each row's article.
pub(crate) const ARTICLE_ID: &str = "article_id";

/// The input that says what the customer bought of late.
const HISTORY: &str = "history";
/// How many purchases it names.
const HISTORY_LENGTH: usize = 10;
/// What it says of each beside its name, as far as the bundle has it.
const HISTORY_ATTRIBUTES: [&str; 2] = ["product_type_name", "colour_group_name"];

/// What the values of an input are taken from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Age,
    MonthSin,
    MonthCos,
    ArticleId,
    ProdName,
    DetailDesc,
    History,
    Attribute,
    Number(Number),
}

/// The tensors that a ranker gets, and what can be asked of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// The inputs of its metadata, each with its source.
    inputs: Vec<(TensorMetadata, Source)>,
    /// It says why it scores as it does.
    pub(crate) explains: bool,
}

/// What holds for every candidate of a request.
#[derive(Clone, Debug)]
pub(crate) struct RequestFeatures {
    /// In years.
    pub(crate) age: f32,
    /// The number of the age's group.
    pub(crate) age_group: usize,
    /// The time of year.
    pub(crate) season: Season,
    /// What the customer bought of late, in words; empty where nothing is known of it, or the plan does not ask.
    pub(crate) history: String,
    /// What they touched of late.
    pub(crate) touched: History,
}

impl Plan {
    /// What to send to a ranker that takes these inputs. `numbers` are those that the bundle defines.
    ///
    /// # Errors
    /// It needs an input that nothing here can offer; the text names it.
    pub(crate) fn new(ranker: &ModelMetadata, articles: &Articles, numbers: &Numbers) -> Result<Self, String> {
        let mut inputs = Vec::with_capacity(ranker.inputs.len());
        for input in &ranker.inputs {
            match offer(input, articles, numbers) {
                Ok(source) => inputs.push((input.clone(), source)),
                Err(_) if input.optional => {}
                Err(reason) => return Err(reason),
            }
        }
        let explains = ranker.outputs.iter().any(|output| output.name == EXPLANATIONS);
        Ok(Self { inputs, explains })
    }

    /// Whether it asks for what the customer bought of late. Where it does not, nobody needs to know in which order they did.
    pub(crate) fn reads_history(&self) -> bool {
        self.inputs.iter().any(|(_, source)| *source == Source::History)
    }

    /// The tensors for these candidates.
    ///
    /// # Errors
    /// Never for a plan that was made over the same articles.
    pub(crate) fn tensors(
        &self,
        articles: &Articles,
        candidates: &[Candidate],
        request: &RequestFeatures,
    ) -> Result<Vec<Tensor>> {
        self.inputs.iter().map(|(input, source)| tensor(input, source, articles, candidates, request)).collect()
    }
}

/// The last purchases in words: `name (product type, colour)` each, with `; ` between them. `purchased` has each article once, newest
/// first; those that the catalogue does not have are passed over.
pub(crate) fn history(articles: &Articles, purchased: &[String]) -> String {
    let attributes: Vec<_> = HISTORY_ATTRIBUTES.iter().filter_map(|name| articles.attribute(name)).collect();
    let rows = purchased.iter().filter_map(|id| articles.row(id)).take(HISTORY_LENGTH);
    let purchases = rows.map(|row| {
        let values: Vec<_> = attributes.iter().map(|attribute| attribute(row)).collect();
        let name = articles.prod_name(row);
        if values.is_empty() { name.to_owned() } else { format!("{name} ({})", values.join(", ")) }
    });
    purchases.collect::<Vec<_>>().join("; ")
}

fn offer(input: &TensorMetadata, articles: &Articles, numbers: &Numbers) -> Result<Source, String> {
    let (source, datatype) = match input.name.as_str() {
        "age" => (Source::Age, Datatype::Fp32),
        "month_sin" => (Source::MonthSin, Datatype::Fp32),
        "month_cos" => (Source::MonthCos, Datatype::Fp32),
        ARTICLE_ID => (Source::ArticleId, Datatype::Bytes),
        "prod_name" => (Source::ProdName, Datatype::Bytes),
        "detail_desc" => (Source::DetailDesc, Datatype::Bytes),
        HISTORY => (Source::History, Datatype::Bytes),
        name if numbers.contains_key(name) => (Source::Number(numbers[name].clone()), Datatype::Fp32),
        name if articles.attribute(name).is_some() => (Source::Attribute, Datatype::Bytes),
        name => return Err(format!("asks for input `{name}`, which can't be offered")),
    };
    let wider = (datatype, input.datatype) == (Datatype::Fp32, Datatype::Fp64);
    if input.datatype != datatype && !wider {
        let (name, wanted) = (&input.name, input.datatype.name());
        let has = if datatype == Datatype::Fp32 { "FP32 or FP64" } else { datatype.name() };
        return Err(format!("asks for input `{name}` as {wanted}, which can only be {has}"));
    }
    if matches!(input.shape.as_slice(), [-1] | [-1, 1]) {
        return Ok(source);
    }
    Err(format!("asks for input `{}` of shape {:?}, which has [-1, 1]", input.name, input.shape))
}

fn tensor(
    input: &TensorMetadata,
    source: &Source,
    articles: &Articles,
    candidates: &[Candidate],
    request: &RequestFeatures,
) -> Result<Tensor> {
    let numbers = |values: Vec<f32>| match input.datatype {
        Datatype::Fp64 => Data::from(values.into_iter().map(f64::from).collect::<Vec<_>>()),
        _ => Data::from(values),
    };
    let repeated = |value: f32| numbers(vec![value; candidates.len()]);
    let name = input.name.as_str();
    let data: Data = match source {
        Source::Age => repeated(request.age),
        Source::MonthSin => repeated(request.season.month_sin),
        Source::MonthCos => repeated(request.season.month_cos),
        Source::ArticleId => texts(candidates, |row| articles.id(row)).into(),
        Source::ProdName => texts(candidates, |row| articles.prod_name(row)).into(),
        Source::DetailDesc => texts(candidates, |row| articles.detail_desc(row)).into(),
        Source::History => texts(candidates, |_| &request.history).into(),
        Source::Attribute => {
            let value = articles.attribute(name).ok_or_else(|| Error::internal(format!("no attribute `{name}`")))?;
            texts(candidates, value).into()
        }
        Source::Number(number) => numbers(number.values(articles, candidates, request)),
    };
    let shape = if input.shape.len() == 1 { vec![candidates.len()] } else { vec![candidates.len(), 1] };
    Tensor::new(name, shape, data)
}

fn texts<'a>(candidates: &[Candidate], text: impl Fn(u32) -> &'a str) -> BytesData {
    candidates.iter().map(|candidate| text(candidate.row)).collect()
}
