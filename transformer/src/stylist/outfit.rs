//! One question's way: what the LLM says is searched for as it says it, and where it says nothing the words themselves are.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use catalog::store::{Customer, OutOfStock};
use dataplane::{Context, Error, Result};
use serde::{Deserialize, Serialize};

use super::{
    Stylist,
    instance::{Gender, Question, Words},
    profile::Profile,
    texts::{Eligible, Found},
    told::{CATEGORY, EMOJI, Item, Told},
    upstream::{Ask, NAME, Parameters},
};
use crate::ladder::{Failed, WITHOUT_STORE, list_id};

/// Most items of an outfit; what more there is, is not heard.
const ITEMS: usize = 8;
/// What stands where nobody summed up.
const NO_SUMMARY: &str = "No summary available.";
/// Who answered where the LLM did not.
const SEARCH: &str = "semantic search";
/// What is said of an LLM that is not there by its owner's will.
const UNSET: &str = "not configured";

/// A question with what is known of who asks it.
pub(super) struct Asked {
    pub(super) question: Question,
    pub(super) customer: Customer,
    pub(super) out_of_stock: Arc<OutOfStock>,
    /// The store was not heard.
    pub(super) is_stale: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Outfit {
    /// One for a query.
    pub(super) items: Vec<Styled>,
    /// Nothing for a query.
    pub(super) summary: Option<String>,
    /// Articles that each item was to have.
    pub(super) k: usize,
    pub(super) info: Info,
}

/// An item with its articles, as cosine and row, nearest first. A query's has no words.
#[derive(Clone, Debug)]
pub(super) struct Styled {
    pub(super) item: Option<Item>,
    pub(super) articles: Vec<(f32, u32)>,
}

/// What is worth knowing beside it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Info {
    /// Who asks, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<Profile>,
    pub(super) gender: Gender,
    /// The list's name, which events about its articles say.
    pub(super) list_id: String,
    /// The bundle's.
    pub(super) model_version: String,
    /// Who thought of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) llm: Option<String>,
    /// What it lacks, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) degraded: Option<String>,
    /// Why an item has fewer articles than it was to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) short: Option<String>,
}

/// What is known by and by of an answer.
pub(super) enum News<'a> {
    /// Who it is for.
    Known(Option<&'a Profile>, Gender),
    /// Another item.
    Item(usize, &'a Styled),
    /// All in all.
    Summary(&'a str),
}

/// Who hears the news.
pub(super) type Listener<'a> = &'a mut (dyn FnMut(News<'_>) + Send);

/// An answer in the making.
struct Making<'a> {
    stylist: &'a Stylist,
    eligible: Eligible,
    /// What draws the articles of every item.
    taste: Option<Arc<[f32]>>,
    k: usize,
    items: Vec<Styled>,
    summary: Option<String>,
    llm: Option<String>,
    encoding: Duration,
    searching: Duration,
    waited: Duration,
}

impl Stylist {
    /// Answers a question; `listener` hears of it as it goes.
    ///
    /// # Errors
    /// The search fails: what the LLM does is never an error.
    pub(super) async fn answer(&self, asked: &Asked, context: &Context, listener: Listener<'_>) -> Result<Outfit> {
        let Asked { question, customer, out_of_stock, is_stale } = asked;
        let texts = &self.texts;
        let profile = question.customer_id.as_ref();
        let profile = profile.map(|_| Profile::of(customer, &texts.articles, &texts.groups, question.day));
        listener(News::Known(profile.as_ref(), question.gender));
        let mut making = Making::new(self, texts.eligible(question, customer, out_of_stock)?, question.k);
        let mut degraded: Vec<String> = is_stale.then(|| WITHOUT_STORE.to_owned()).into_iter().collect();
        match &question.words {
            Words::Query(query) => {
                making.add(None, query.clone(), listener).await?;
                self.counts.query();
            }
            Words::Request(request) => {
                making.taste = profile.as_ref().and_then(|profile| texts.taste(profile.article_ids()));
                let lacks = making.style(request, question.gender, profile.as_ref(), context, listener).await?;
                self.counts.request(lacks.as_ref().map(|lacks| lacks.code));
                degraded.extend(lacks.map(|lacks| lacks.words));
                if making.items.is_empty() {
                    making.fall_back(request, profile.as_ref(), listener).await?;
                    degraded.push(SEARCH.to_owned());
                }
                listener(News::Summary(making.summary.get_or_insert_with(|| NO_SUMMARY.to_owned())));
            }
        }
        making.tell_steps(context);
        Ok(making.done(question, profile, &degraded))
    }
}

/// Why the LLM had no part, or not the whole of it.
struct Lacks {
    /// For metrics.
    code: &'static str,
    /// For the answer.
    words: String,
}

impl Lacks {
    fn of(error: &Error) -> Self {
        tracing::warn!(code = error.kind().row().code, %error, "an outfit without the LLM");
        Self { code: error.kind().row().code, words: Failed::of(NAME, error).to_string() }
    }
}

impl<'a> Making<'a> {
    fn new(stylist: &'a Stylist, eligible: Eligible, k: usize) -> Self {
        let nothing = Duration::ZERO;
        let (encoding, searching, waited) = (nothing, nothing, nothing);
        Self {
            stylist,
            eligible,
            taste: None,
            k,
            items: Vec::new(),
            summary: None,
            llm: None,
            encoding,
            searching,
            waited,
        }
    }

    /// Finds the articles of what the LLM says, item by item. Says what the LLM failed in.
    async fn style(
        &mut self,
        request: &str,
        gender: Gender,
        profile: Option<&Profile>,
        context: &Context,
        listener: Listener<'_>,
    ) -> Result<Option<Lacks>> {
        let Some(upstream) = &self.stylist.upstream else {
            return Ok(Some(Lacks { code: "not_configured", words: format!("{NAME}: {UNSET}") }));
        };
        let ask = Ask { text_input: request, parameters: Parameters { gender, profile } };
        let begun = Instant::now();
        let conversation = upstream.ask(&ask, context).await;
        self.waited += begun.elapsed();
        let mut conversation = match conversation {
            Ok(conversation) => conversation,
            Err(error) => return Ok(Some(Lacks::of(&error))),
        };
        loop {
            let begun = Instant::now();
            let told = conversation.next().await;
            self.waited += begun.elapsed();
            match told {
                Ok(Some(Told::Item(item))) if self.items.len() < ITEMS => {
                    let words = item.words();
                    self.add(Some(item), words, listener).await?;
                }
                Ok(Some(Told::Summary(summary))) => self.summary = Some(summary).filter(|text| !text.is_empty()),
                Ok(Some(Told::Done { llm, fallback })) => {
                    self.llm = llm;
                    let words = fallback.map(|class| format!("{NAME}: {class}"));
                    let none = || format!("{NAME}: no items");
                    let words = words.or_else(|| self.items.is_empty().then(none));
                    return Ok(words.map(|words| Lacks { code: "defaults", words }));
                }
                Ok(Some(Told::Item(_) | Told::Failed(_))) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Ok(Some(Lacks::of(&error))),
            }
        }
    }

    /// The one item of an answer without the LLM: what was asked for and, where that is known, what they bought.
    async fn fall_back(&mut self, request: &str, profile: Option<&Profile>, listener: Listener<'_>) -> Result<()> {
        let text = |text: &str| text.to_owned();
        let item = Item { emoji: text(EMOJI), category: text(CATEGORY), description: text(request) };
        let bought = profile.and_then(Profile::in_words);
        let words = bought.map_or_else(|| text(request), |bought| format!("{request}\n{bought}"));
        self.add(Some(item), words, listener).await
    }

    /// Another item: what is nearest to these words of what no other item has.
    async fn add(&mut self, item: Option<Item>, words: String, listener: Listener<'_>) -> Result<()> {
        let Stylist { texts, encoders, .. } = self.stylist;
        let Found { articles, encoding, searching } =
            texts.find(encoders, words, self.taste.clone(), self.k, self.eligible.rows.clone()).await?;
        self.encoding += encoding;
        self.searching += searching;
        let left = Arc::make_mut(&mut self.eligible.rows);
        articles.iter().for_each(|&(_, row)| left.remove(row));
        let styled = Styled { item, articles };
        listener(News::Item(self.items.len(), &styled));
        self.items.push(styled);
        Ok(())
    }

    fn tell_steps(&self, context: &Context) {
        if !self.waited.is_zero() {
            context.predicted(self.waited);
            context.step("llm", self.waited);
        }
        context.step("embed", self.encoding);
        context.step("search", self.searching);
    }

    fn done(self, question: &Question, profile: Option<Profile>, degraded: &[String]) -> Outfit {
        let Self { stylist, eligible, k, items, summary, llm, .. } = self;
        let is_short = items.iter().any(|styled| styled.articles.len() < k);
        let version = stylist.version();
        let customer_id = question.customer_id.as_deref().unwrap_or_default();
        let rows = items.iter().flat_map(|styled| &styled.articles);
        let ids = rows.map(|&(_, row)| stylist.texts.articles.id(row));
        let info = Info {
            profile,
            gender: question.gender,
            list_id: list_id(NAME, version, customer_id, ids),
            model_version: version.to_owned(),
            llm,
            degraded: (!degraded.is_empty()).then(|| degraded.join("; ")),
            short: is_short.then_some(eligible.shortage),
        };
        Outfit { items, summary, k, info }
    }
}
