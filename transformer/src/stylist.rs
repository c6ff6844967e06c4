//! The second model that this server publishes, where the bundle has what it takes: a request in words → an outfit of articles.
//!
//! An [`instance`] is checked, the store's facts make a [`profile`], the LLM behind [`upstream`] thinks of items and [`told`] reads them;
//! for each the [`encoder`] makes a vector and [`texts`] are searched, and the [`outfit`] is what comes of it. [`wire`] says how that
//! looks, [`stream`] how it looks while it comes to be; [`load`] makes the model of a bundle.

mod encoder;
mod instance;
mod load;
mod outfit;
mod profile;
mod stream;
mod texts;
mod told;
mod upstream;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use catalog::store::Customer;
use dataplane::{
    Context, InferRequest, InferResponse, Model, ModelMetadata, Result, metrics::Metrics, v1::V1Codec, worker::Pool,
};
use futures_util::{StreamExt, TryStreamExt, stream as futures};
use prometheus::{IntCounterVec, Opts};

use self::{
    encoder::Encoder,
    instance::{Instance, Question},
    outfit::{Asked, Outfit},
    texts::Texts,
    upstream::Upstream,
    wire::Instances,
};
use crate::{facts::Facts, filter::Columns, wire as rows};
pub(crate) use load::{MODEL, Stylists};
pub(crate) use stream::routes;

/// Rows of one request that are under way together: the LLM is asked for each.
const ROWS_AT_ONCE: usize = 4;

/// Thinks of outfits.
pub(crate) struct Stylist {
    metadata: ModelMetadata,
    /// What filters can name.
    columns: Columns,
    max_instances: usize,
    texts: Arc<Texts>,
    encoders: Pool<Encoder>,
    facts: Arc<Facts>,
    upstream: Option<Arc<Upstream>>,
    counts: Counts,
}

/// What is counted of answers.
#[derive(Clone)]
struct Counts(IntCounterVec);

impl Counts {
    fn new(metrics: &Metrics) -> prometheus::Result<Self> {
        let answers = Opts::new(
            "stylist_answers_total",
            "Answers in words by what was asked (request, query) and how far the LLM had its part: answered, or why not.",
        );
        let answers = IntCounterVec::new(answers, &["asked", "outcome"])?;
        metrics.register(answers.clone())?;
        Ok(Self(answers))
    }

    fn query(&self) {
        self.0.with_label_values(&["query", "answered"]).inc();
    }

    /// With what the LLM lacked, if anything.
    fn request(&self, lacked: Option<&str>) {
        self.0.with_label_values(&["request", lacked.unwrap_or("answered")]).inc();
    }
}

impl Stylist {
    /// The bundle's version.
    fn version(&self) -> &str {
        self.metadata.version().unwrap_or_default()
    }

    /// All rows of a request, checked before any is answered.
    async fn outfits(&self, request: &InferRequest, context: &Context) -> Result<Vec<Outfit>> {
        let count = rows::rows(request, self.max_instances)?;
        let questions = (0..count).map(|row| {
            let question = Instance::of_row(request, row).and_then(|instance| instance.check(&self.columns));
            question.map_err(|error| rows::at_row(error, row))
        });
        let asked = self.customers(questions.collect::<Result<_>>()?, context).await?;
        let outfits = asked.into_iter().enumerate().map(|(row, asked)| async move {
            let outfit = self.answer(&asked, context, &mut |_| {}).await;
            outfit.map_err(|error| rows::at_row(error, row))
        });
        futures::iter(outfits).buffered(ROWS_AT_ONCE).try_collect().await
    }

    /// Who asks, in one round trip for all; and what is out of stock, also where nobody says who they are.
    async fn customers(&self, questions: Vec<Question>, context: &Context) -> Result<Vec<Asked>> {
        let begun = std::time::Instant::now();
        let ids: Vec<&str> = questions.iter().filter_map(|question| question.customer_id.as_deref()).collect();
        let known = self.facts.of(&ids, context).await?;
        context.step("customer", begun.elapsed());
        let mut customers = known.customers.into_iter();
        let asked = questions.into_iter().map(|question| {
            let customer = question.customer_id.as_ref().and_then(|_| customers.next());
            Asked {
                customer: customer.unwrap_or_else(Customer::default),
                question,
                out_of_stock: known.out_of_stock.clone(),
                is_stale: known.is_stale,
            }
        });
        Ok(asked.collect())
    }
}

#[async_trait]
impl Model for Stylist {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        wire::respond(&self.outfits(&request, context).await?, &self.texts.articles)
    }

    fn v1(&self) -> &dyn V1Codec {
        &Instances
    }
}
