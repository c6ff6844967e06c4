//! Step 5: what the ranker is told of each candidate. Row i of every tensor is about candidate i, always.

mod matrix;
mod numbers;

use catalog::articles::Articles;
use dataplane::{BytesData, Data, Datatype, Error, ModelMetadata, Result, Tensor, TensorMetadata, v1::EXPLANATIONS};

use crate::{candidates::Candidate, history::History, instance::Season};
pub(crate) use numbers::{Numbers, defined};

use matrix::Matrix;
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
    ArticleId,
    ProdName,
    DetailDesc,
    History,
    Attribute,
    Number(Number),
}

/// What a ranker gets, and what can be asked of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// The inputs of its metadata, each with its source.
    inputs: Vec<(TensorMetadata, Source)>,
    /// What it takes in their stead, where it says how.
    matrix: Option<Matrix>,
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
        for input in ranker.inputs.iter().filter(|input| !input.alternative) {
            match offer(input, articles, numbers) {
                Ok(source) => inputs.push((input.clone(), source)),
                Err(_) if input.optional => {}
                Err(reason) => return Err(reason),
            }
        }
        let explains = ranker.outputs.iter().any(|output| output.name == EXPLANATIONS);
        Ok(Self { inputs, matrix: matrix(ranker, articles, numbers), explains })
    }

    /// Whether it asks for what the customer bought of late. Where it does not, nobody needs to know in which order they did.
    pub(crate) fn reads_history(&self) -> bool {
        self.inputs.iter().any(|(_, source)| *source == Source::History)
    }

    /// What the ranker is asked with for the scores of these candidates, in the shortest form that it takes.
    ///
    /// # Errors
    /// Never for a plan that was made over the same articles.
    pub(crate) fn request(
        &self,
        articles: &Articles,
        candidates: &[Candidate],
        request: &RequestFeatures,
    ) -> Result<Vec<Tensor>> {
        match &self.matrix {
            Some(matrix) => matrix.tensor(articles, candidates, request).map(|tensor| vec![tensor]),
            None => self.tensors(articles, candidates, request),
        }
    }

    /// A tensor for each input, with the features of these candidates as people know them.
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

/// The matrix that a ranker takes in the stead of its inputs, if it takes one and all of it can be offered.
fn matrix(ranker: &ModelMetadata, articles: &Articles, numbers: &Numbers) -> Option<Matrix> {
    let input = ranker.inputs.iter().find(|input| input.alternative)?;
    let unusable = |reason| tracing::debug!(input = input.name, reason, "features are sent an input each");
    Matrix::new(input, ranker, articles, numbers).map_err(unusable).ok()
}

/// What a feature's values are taken from, if there is something.
fn source(name: &str, articles: &Articles, numbers: &Numbers) -> Option<Source> {
    Some(match name {
        "age" => Source::Number(Number::Age),
        "month_sin" => Source::Number(Number::MonthSin),
        "month_cos" => Source::Number(Number::MonthCos),
        ARTICLE_ID => Source::ArticleId,
        "prod_name" => Source::ProdName,
        "detail_desc" => Source::DetailDesc,
        HISTORY => Source::History,
        name => match numbers.get(name) {
            Some(number) => Source::Number(number.clone()),
            None => articles.attribute(name).map(|_| Source::Attribute)?,
        },
    })
}

fn offer(input: &TensorMetadata, articles: &Articles, numbers: &Numbers) -> Result<Source, String> {
    let source = source(&input.name, articles, numbers)
        .ok_or_else(|| format!("asks for input `{}`, which can't be offered", input.name))?;
    let datatype = if matches!(source, Source::Number(_)) { Datatype::Fp32 } else { Datatype::Bytes };
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
    let name = input.name.as_str();
    let data: Data = match source {
        Source::ArticleId => texts(candidates, |row| articles.id(row)).into(),
        Source::ProdName => texts(candidates, |row| articles.prod_name(row)).into(),
        Source::DetailDesc => texts(candidates, |row| articles.detail_desc(row)).into(),
        Source::History => texts(candidates, |_| &request.history).into(),
        Source::Attribute => {
            let value = articles.attribute(name).ok_or_else(|| Error::internal(format!("no attribute `{name}`")))?;
            texts(candidates, value).into()
        }
        Source::Number(number) => {
            let mut values = vec![0.0; candidates.len()];
            number.write(values.iter_mut(), articles, candidates, request);
            match input.datatype {
                Datatype::Fp64 => values.into_iter().map(f64::from).collect::<Vec<_>>().into(),
                _ => values.into(),
            }
        }
    };
    let shape = if input.shape.len() == 1 { vec![candidates.len()] } else { vec![candidates.len(), 1] };
    Tensor::new(name, shape, data)
}

fn texts<'a>(candidates: &[Candidate], text: impl Fn(u32) -> &'a str) -> BytesData {
    candidates.iter().map(|candidate| text(candidate.row)).collect()
}

#[cfg(test)]
mod tests;
