//! How requests to the stylist and its answers stand on the wire: V2 tensors, V1 instances and predictions, events of a stream.

use catalog::{articles::Articles, bundle::Bundle};
use dataplane::{
    BytesData, Data, Datatype, Error, InferRequest, InferResponse, ModelMetadata, Result, Tensor, TensorMetadata,
    model::DIGEST,
    v1::{Predictions, V1Codec},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    instance::{GENDER, QUERY, REQUEST},
    outfit::{Info, Outfit, Styled},
    told::Item,
};
use crate::{
    rank::ARTICLE_IDS,
    wire::{COUNT, CUSTOMER_ID, INFO, OPTIONS, SCORES, TRANSACTION_DATE},
};

/// Output: each item in words, `[B, I]`.
const ITEMS: &str = "items";
/// Output: the outfit in words, `[B]`.
const SUMMARY: &str = "summary";

/// What the stylist takes and gives. Every input is optional by itself: a row needs a request or a query.
pub(super) fn metadata(name: &str, bundle: &Bundle) -> ModelMetadata {
    let inputs = [REQUEST, QUERY, GENDER, CUSTOMER_ID, TRANSACTION_DATE, OPTIONS];
    ModelMetadata {
        name: name.to_owned(),
        versions: vec![bundle.manifest().version.clone()],
        platform: "hemline_stylist".to_owned(),
        inputs: inputs.map(|name| TensorMetadata::optional(name, Datatype::Bytes, &[-1])).into(),
        outputs: vec![
            TensorMetadata::new(ARTICLE_IDS, Datatype::Bytes, &[-1, -1, -1]),
            TensorMetadata::new(SCORES, Datatype::Fp32, &[-1, -1, -1]),
            TensorMetadata::new(COUNT, Datatype::Int32, &[-1, -1]),
            TensorMetadata::new(ITEMS, Datatype::Bytes, &[-1, -1]),
            TensorMetadata::new(SUMMARY, Datatype::Bytes, &[-1]),
            TensorMetadata::new(INFO, Datatype::Bytes, &[-1]),
        ],
        properties: [(DIGEST.to_owned(), bundle.digest().to_owned())].into(),
    }
}

/// The answers' tensors: as many items and articles a row as the longest has.
pub(super) fn respond(outfits: &[Outfit], articles: &Articles) -> Result<InferResponse> {
    let most = outfits.iter().map(|outfit| outfit.items.len()).max().unwrap_or_default();
    let (rows, width) = (outfits.len(), outfits.iter().map(|outfit| outfit.k).max().unwrap_or_default());
    let (mut ids, mut scores, mut counts) = (BytesData::default(), Vec::new(), Vec::new());
    let (mut items, mut summaries, mut infos) = (BytesData::default(), BytesData::default(), BytesData::default());
    for outfit in outfits {
        for styled in outfit.items.iter().map(Some).chain(std::iter::repeat(None)).take(most) {
            let found = styled.map(|styled| styled.articles.as_slice()).unwrap_or_default();
            found.iter().for_each(|&(_, row)| ids.push(articles.id(row)));
            ids.extend(std::iter::repeat_n("", width - found.len()));
            scores.extend(found.iter().map(|&(score, _)| score));
            scores.resize(ids.len(), 0.0);
            counts.push(i32::try_from(found.len()).map_err(Error::internal)?);
            let item = styled.and_then(|styled| styled.item.as_ref());
            items.push(item.map(serde_json::to_string).transpose().map_err(Error::internal)?.unwrap_or_default());
        }
        summaries.push(outfit.summary.as_deref().unwrap_or_default());
        infos.push(serde_json::to_vec(&outfit.info).map_err(Error::internal)?);
    }
    Ok(InferResponse::of(vec![
        Tensor::new(ARTICLE_IDS, vec![rows, most, width], ids)?,
        Tensor::new(SCORES, vec![rows, most, width], scores)?,
        Tensor::new(COUNT, vec![rows, most], counts)?,
        Tensor::new(ITEMS, vec![rows, most], items)?,
        Tensor::vector(SUMMARY, summaries),
        Tensor::vector(INFO, infos),
    ]))
}

/// An item and its articles, as predictions and streams tell them.
#[derive(Serialize)]
pub(super) struct ShownItem<'a> {
    #[serde(flatten)]
    item: Item,
    /// Cosine and id, nearest first.
    articles: Vec<(f32, &'a str)>,
}

impl<'a> ShownItem<'a> {
    /// The same of an item that was found.
    pub(super) fn of(styled: &Styled, articles: &'a Articles) -> Self {
        let item = styled.item.clone().unwrap_or_default();
        Self { item, articles: styled.articles.iter().map(|&(score, row)| (score, articles.id(row))).collect() }
    }
}

/// V1: an instance is what a row of `options` is, and all instances are one request.
pub(super) struct Instances;

impl V1Codec for Instances {
    fn decode(&self, instances: &[&RawValue], _model: &ModelMetadata) -> Result<Vec<InferRequest>> {
        let options = instances.iter().map(|instance| instance.get()).collect::<BytesData>();
        Ok(vec![InferRequest::of(vec![Tensor::vector(OPTIONS, options)])])
    }

    fn encode(&self, responses: &[InferResponse], predictions: &mut Predictions) -> Result<()> {
        responses.iter().try_for_each(|response| encode(response, predictions))
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Prediction<'a> {
    Outfit {
        items: Vec<ShownItem<'a>>,
        summary: &'a str,
        #[serde(flatten)]
        info: Info,
    },
    Query {
        ranking: Vec<(f32, &'a str)>,
        #[serde(flatten)]
        info: Info,
    },
}

fn encode(response: &InferResponse, predictions: &mut Predictions) -> Result<()> {
    let missing = || Error::internal("an answer without its outputs");
    let bytes = |name: &str| response.bytes(name).ok_or_else(missing);
    let (ids, items, summaries, infos) = (bytes(ARTICLE_IDS)?, bytes(ITEMS)?, bytes(SUMMARY)?, bytes(INFO)?);
    let scores = response.f32s(SCORES).ok_or_else(missing)?;
    let shape = response.output(SCORES).map(Tensor::shape).unwrap_or_default();
    let (&[_, most, width], Some(Data::Int32(counts))) = (shape, response.output(COUNT).map(Tensor::data)) else {
        return Err(missing());
    };
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).map(ToOwned::to_owned).map_err(Error::internal);
    for (row, (summary, info)) in summaries.iter().zip(infos.iter()).enumerate() {
        let info = serde_json::from_slice(info).map_err(Error::internal)?;
        let mut shown = Vec::with_capacity(most);
        for place in row * most..(row + 1) * most {
            let count = counts.get(place).and_then(|&count| usize::try_from(count).ok()).ok_or_else(missing)?;
            let positions = place * width..place * width + count;
            let pair = |at: usize| Some((*scores.get(at)?, std::str::from_utf8(ids.get(at)?).ok()?));
            let articles = positions.map(pair).collect::<Option<Vec<_>>>().ok_or_else(missing)?;
            shown.push((items.get(place).unwrap_or_default(), articles));
        }
        let is_query = shown.first().is_some_and(|(item, _)| item.is_empty());
        if is_query {
            let ranking = shown.into_iter().next().map(|(_, articles)| articles).unwrap_or_default();
            predictions.push(&Prediction::Query { ranking, info })?;
            continue;
        }
        let shown = shown.into_iter().filter(|(item, _)| !item.is_empty());
        let shown = shown.map(|(item, articles)| {
            Ok(ShownItem { item: serde_json::from_slice(item).map_err(Error::internal)?, articles })
        });
        let summary = text(summary)?;
        predictions.push(&Prediction::Outfit { items: shown.collect::<Result<_>>()?, summary: &summary, info })?;
    }
    Ok(())
}
