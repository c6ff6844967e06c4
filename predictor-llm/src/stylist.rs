//! The second model that this server publishes: a request in words becomes an outfit, three to five items that are looked for in a shop, and a
//! sentence on them.
//!
//! [`wish`] reads what is asked for, [`Stylist::ask`] asks the LLM and tells what it says while it says it: [`reader`] hears it as JSON
//! ([`json`]) or in lines ([`lines`]), [`outfit`] tells each [`item`] once. [`wire`] is V1 and V2, [`route`] the answer that streams.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use dataplane::{
    BytesData, Context, Error, InferRequest, InferResponse, Model, ModelMetadata, Parameters, Result, Tensor,
    readiness::Latch, v1::V1Codec,
};
use futures_util::future::join_all;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::timeout_at,
};

use crate::{
    api::Chat,
    args::Args,
    asking::Asking,
    features::Form,
    llm::Ask,
    metrics::StylistMetrics,
    miss::{Miss, Missed},
    ranker::unavailable,
    scorer::Scorer,
    template::Prompt,
    wire::DEGRADED,
};

mod item;
mod json;
mod lines;
mod outfit;
mod reader;
pub(crate) mod route;
mod wire;
mod wish;

use item::Item;
use outfit::{NO_SUMMARY, Told};
use reader::{Reader, Written};
use wire::{ITEMS, Instances, LLM, SUMMARY};
use wish::Wish;

/// Tokens of an answer: five items of sixty, and a summary.
const ANSWER: u32 = 600;

/// Puts outfits together.
pub(crate) struct Stylist {
    metadata: ModelMetadata,
    scorer: Arc<Scorer>,
    metrics: StylistMetrics,
    /// The LLM has shown once that it is good for something.
    tested: Latch,
}

/// How an outfit ended that has items.
#[derive(Clone, Copy, Debug)]
struct Done {
    written: Written,
    items: usize,
    /// Why there is no more of it, where that is so.
    fallback: Option<Miss>,
}

/// An outfit as a whole.
struct Whole {
    items: Vec<Item>,
    summary: String,
    done: Done,
}

impl Stylist {
    /// A stylist that answers from when `tested` is open.
    pub(crate) fn new(args: &Args, scorer: Arc<Scorer>, metrics: StylistMetrics, tested: Latch) -> Self {
        let metadata = wire::metadata(args, &scorer.template);
        Self { metadata, scorer, metrics, tested }
    }

    /// Asks for what is wished for, and tells what is said of it: items, then a summary, always.
    ///
    /// # Errors
    /// There is no item; nothing was told.
    async fn ask(&self, wish: &Wish, asking: &Asking, told: UnboundedSender<Told>) -> Result<Done, Missed> {
        let outcome = self.metrics.begin();
        let written = [true, false].map(|json| self.scorer.template.outfit(&wish.values(), json));
        let answer = match written {
            [Ok(json), Ok(lines)] => self.heard(&json, &lines, asking, told).await,
            [Err(error), _] | [_, Err(error)] => Err(Missed { class: Miss::Invalid, detail: error.reason().into() }),
        };
        match &answer {
            Ok(Done { fallback, .. }) => outcome.ended(fallback.map_or("ok", Miss::name)),
            Err(missed) => {
                outcome.ended(missed.class.name());
                tracing::warn!(class = missed.class.name(), error = &*missed.detail, "no outfit");
            }
        }
        answer
    }

    async fn heard(
        &self,
        json: &Prompt,
        lines: &Prompt,
        asking: &Asking,
        told: UnboundedSender<Told>,
    ) -> Result<Done, Missed> {
        let ask = Ask { prompt: json, plain: Some(lines), form: Form::Outfit, max_tokens: ANSWER };
        // Who does not listen any more has left, and ends all of this.
        let mut reader = Reader::new(move |news| drop(told.send(news)));
        let call = self.scorer.llm.complete_aloud(ask, asking, &mut reader);
        let answer = timeout_at(asking.until, call).await.unwrap_or_else(|_| Err(Miss::Deadline.into()));
        let fallback = ended(&mut reader, answer)?;
        let written = reader.written();
        let (items, made_do) = reader.close();
        self.metrics.told(written.name(), items, made_do.iter().map(|fallback| fallback.name()));
        Ok(Done { written, items, fallback })
    }

    /// An outfit as a whole.
    async fn whole(&self, wish: &Wish, asking: &Asking) -> Result<Whole, Missed> {
        let (tell, mut told) = unbounded_channel();
        let done = self.ask(wish, asking, tell).await?;
        let (items, summary) = collected(&mut told);
        Ok(Whole { items, summary, done })
    }

    /// The model that is asked, where it is known.
    async fn llm(&self) -> Option<&str> {
        self.scorer.llm.model().await.ok()
    }
}

/// How an answer ended: why it says no more, where there are items all the same.
fn ended(reader: &mut Reader, answer: Result<Chat, Missed>) -> Result<Option<Miss>, Missed> {
    let missed = match answer {
        Ok(chat) if chat.is_refusal() => Missed::from(Miss::Refusal),
        Ok(chat) => {
            reader.finish();
            let cut = chat.is_cut() && !reader.outfit().is_summarised();
            match reader.outfit().is_begun() {
                true => return Ok(cut.then_some(Miss::Truncated)),
                false => Missed::from(if chat.is_cut() { Miss::Truncated } else { Miss::NoItems }),
            }
        }
        Err(missed) => missed,
    };
    if reader.outfit().is_begun() { Ok(Some(missed.class)) } else { Err(missed) }
}

/// What was told of an outfit that is complete.
fn collected(told: &mut UnboundedReceiver<Told>) -> (Vec<Item>, String) {
    let (mut items, mut all) = (Vec::new(), NO_SUMMARY.to_owned());
    while let Ok(news) = told.try_recv() {
        match news {
            Told::Item { item, .. } => items.push(item),
            Told::Summary { summary } => all = summary,
        }
    }
    (items, all)
}

/// What a caller is told of an outfit that ended so early.
fn degraded(class: Miss) -> &'static str {
    class.outage().unwrap_or("the LLM's answer is not complete")
}

#[async_trait]
impl Model for Stylist {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    fn v1(&self) -> &dyn V1Codec {
        &Instances
    }

    fn is_ready(&self) -> bool {
        self.tested.is_open()
    }

    /// A row whose outfit failed has no items and no summary, where another row has some.
    async fn infer(&self, request: InferRequest, context: &Context) -> Result<InferResponse> {
        let begun = Instant::now();
        let (wishes, asking) = (wire::wishes(&request)?, Asking::of(context));
        let outfits = join_all(wishes.iter().map(|wish| self.whole(wish, &asking))).await;
        if let Some(Err(missed)) = outfits.first()
            && outfits.iter().all(Result::is_err)
        {
            return Err(unavailable(missed));
        }
        let (mut items, mut summaries, mut parameters) =
            (BytesData::default(), BytesData::default(), Parameters::new());
        for outfit in outfits {
            let (told, summary, fallback) = match outfit {
                Ok(Whole { items, summary, done }) => (items, summary, done.fallback),
                Err(missed) => (Vec::new(), NO_SUMMARY.to_owned(), Some(missed.class)),
            };
            items.push(serde_json::to_vec(&told).map_err(Error::internal)?);
            summaries.push(summary);
            if let Some(class) = fallback {
                parameters.entry(DEGRADED.to_owned()).or_insert_with(|| degraded(class).into());
            }
        }
        if let Some(model) = self.llm().await {
            parameters.insert(LLM.to_owned(), model.into());
        }
        context.step("llm", begun.elapsed());
        let outputs = vec![Tensor::vector(ITEMS, items), Tensor::vector(SUMMARY, summaries)];
        Ok(InferResponse { parameters, ..InferResponse::of(outputs) })
    }
}
