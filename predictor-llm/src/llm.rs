//! Calls to the LLM, held to what there is: a place among those at once, a budget, the circuit, the time. A call that succeeds is a
//! [`Chat`]; one that does not has a class.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use dataplane::{
    client::{Breaker, Retries},
    metrics::Metrics,
};
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{sleep, timeout},
};

use crate::{
    api::{Api, Chat, Failure, Listener},
    args::{Args, CallArgs},
    asking::Asking,
    budget::Budget,
    features::{Features, Form, Options},
    metrics::LlmMetrics,
    miss::{Miss, Missed},
    template::Prompt,
};

mod schema;

/// What the LLM is called in metrics, logs and the health body.
pub(crate) const NAME: &str = "llm";
/// A call that had this long, or all the time that one may take, and was late was late through the API.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tokens that a thinking model may think, beyond those of its answer.
const THOUGHT: u32 = 2048;
/// Probabilities that are asked for at a token: as many as APIs give.
const TOP: u32 = 20;
/// What does not go on to the API of a request's headers: what its caller may do is for us to know, and its id is that of all its calls,
/// where some servers want one of its own for each.
const KEPT: [&str; 2] = ["authorization", "x-request-id"];

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) prompt: &'a Prompt,
    /// What is asked in its place where the API takes no schema, if that is something else.
    pub(crate) plain: Option<&'a Prompt>,
    pub(crate) form: Form,
    /// Tokens that an answer takes without a thought.
    pub(crate) max_tokens: u32,
}

impl<'a> Ask<'a> {
    /// A question in words of its own.
    pub(crate) fn new(prompt: &'a Prompt, form: Form, max_tokens: u32) -> Self {
        Self { prompt, plain: None, form, max_tokens }
    }

    fn prompt(self, options: Options) -> &'a Prompt {
        self.plain.filter(|_| !options.outfit).unwrap_or(self.prompt)
    }
}

/// Who hears the answer while it is written, if anybody does.
type Heard<'a> = Option<&'a mut dyn Listener>;

/// The LLM.
pub(crate) struct Llm {
    api: Api,
    /// The model that is asked for: the setting's, or the first that the API lists.
    model: OnceCell<String>,
    places: Semaphore,
    breaker: Breaker,
    retries: Retries,
    budget: Budget,
    features: Features,
    /// The model thinks whatever it is asked, and needs room for that.
    thinks: AtomicBool,
    temperature: f64,
    extra: Map<String, Value>,
    timeout: Duration,
    logged: f64,
    upstream: Metrics,
    metrics: LlmMetrics,
}

impl Llm {
    /// An LLM behind `api`, which nobody has asked anything yet.
    ///
    /// # Errors
    /// `--llm-extra` is no JSON object; one line that names it.
    pub(crate) fn new(api: Api, args: &Args, upstream: &Metrics, metrics: LlmMetrics) -> Result<Self, String> {
        let CallArgs { temperature, concurrency, llm_timeout, llm_retries, structured_output, ref llm_extra } =
            args.calls;
        let extra = llm_extra.as_deref().map_or(Ok(Map::new()), serde_json::from_str);
        Ok(Self {
            api,
            model: OnceCell::new_with(args.llm_model.clone()),
            places: Semaphore::new(concurrency.into()),
            breaker: Breaker::new(NAME, llm_timeout, upstream).with_patience(PATIENCE),
            retries: Retries::new(llm_retries),
            budget: Budget::new(args.spending),
            features: Features::new(structured_output),
            thinks: AtomicBool::new(false),
            temperature,
            extra: extra.map_err(|error| format!("--llm-extra: expected a JSON object ({error})"))?,
            timeout: llm_timeout,
            logged: args.log_prompts,
            upstream: upstream.clone(),
            metrics,
        })
    }

    /// The model that is asked for.
    ///
    /// # Errors
    /// It was not given, and the API does not list any.
    pub(crate) async fn model(&self) -> Result<&str, Missed> {
        let first = || async {
            let models = timeout(self.timeout, self.api.models()).await.unwrap_or_else(|_| Err(late()))?;
            models
                .into_iter()
                .next()
                .ok_or_else(|| Failure::new(Miss::Invalid, "the API lists no model; set --llm-model"))
        };
        Ok(self.model.get_or_try_init(first).await?)
    }

    /// Whether the API answers at all: what a probe wants to know. If it does, calls go through again that failed at once before.
    pub(crate) async fn look(&self, within: Duration) -> Result<(), Failure> {
        match timeout(within, self.api.models()).await.unwrap_or_else(|_| Err(late())) {
            // Some gateways offer completions and no list.
            Err(failure) if failure.class.fault().is_some() => Err(failure),
            _ => {
                self.breaker.healthy();
                Ok(())
            }
        }
    }

    /// Whether probabilities are asked for as JSON.
    pub(crate) fn is_structured(&self) -> bool {
        self.features.is_structured()
    }

    /// What an answer depends on beside model and prompt.
    pub(crate) fn settings(&self) -> String {
        format!("{} {}", self.temperature, Value::Object(self.extra.clone()))
    }

    /// Asks.
    ///
    /// # Errors
    /// By class, when there is no answer.
    pub(crate) async fn complete(&self, ask: Ask<'_>, asking: &Asking) -> Result<Chat, Missed> {
        self.placed(ask, asking, None).await
    }

    /// Asks, and tells the answer as it is written.
    ///
    /// # Errors
    /// By class, when there is no answer; some of it may have been heard by then.
    pub(crate) async fn complete_aloud(
        &self,
        ask: Ask<'_>,
        asking: &Asking,
        listener: &mut dyn Listener,
    ) -> Result<Chat, Missed> {
        self.placed(ask, asking, Some(listener)).await
    }

    /// A call in a place among those at once.
    async fn placed(&self, ask: Ask<'_>, asking: &Asking, mut heard: Heard<'_>) -> Result<Chat, Missed> {
        // It is never closed.
        let _place = self.places.acquire().await;
        // As the time ends, those who waited for a place get one that they can't use any more.
        if asking.remaining().is_zero() {
            return Err(Miss::Deadline.into());
        }
        let chat = self.paid(ask, asking, &mut heard).await?;
        if !chat.is_cut_in_thought() || self.thinks.swap(true, Ordering::Relaxed) {
            return Ok(chat);
        }
        tracing::info!(tokens = THOUGHT, "the model thinks before it answers, and has room for that from now on");
        self.paid(ask, asking, &mut heard).await
    }

    /// A call within the budgets.
    async fn paid(&self, ask: Ask<'_>, asking: &Asking, heard: &mut Heard<'_>) -> Result<Chat, Missed> {
        let bytes = ask.prompt.system.len() + ask.prompt.user.len();
        let reserved = self.budget.reserve(bytes, self.max_tokens(ask).into(), &asking.spend).map_err(|exhausted| {
            self.metrics.exhausted(exhausted.name());
            Missed { class: Miss::Budget, detail: exhausted.name().into() }
        })?;
        let answer = self.tried(ask, asking, heard).await;
        match &answer {
            Ok(chat) => {
                if let Some(usage) = chat.usage() {
                    reserved.settle(usage);
                    self.metrics.spent(usage, self.budget.cost(usage));
                }
            }
            Err(failure) if failure.is_undone() => reserved.release(),
            // It may have been computed, and stays spent.
            Err(_) => {}
        }
        self.log(ask.prompt, &answer);
        Ok(answer?)
    }

    /// A call with its retries.
    async fn tried(&self, ask: Ask<'_>, asking: &Asking, heard: &mut Heard<'_>) -> Result<Chat, Failure> {
        self.retries.deposit();
        let mut done = 0;
        loop {
            let failure = match self.admitted(ask, asking, heard).await {
                Err(failure) => failure,
                answer => return answer,
            };
            let pause = |reason| self.retries.pause_after(reason, failure.retry_after, done, asking.remaining());
            let Some((reason, pause)) = failure.retry.and_then(|reason| Some((reason, pause(reason)?))) else {
                return Err(failure);
            };
            self.upstream.retried(NAME, reason.name());
            sleep(pause).await;
            done += 1;
        }
    }

    /// A call through the circuit.
    async fn admitted(&self, ask: Ask<'_>, asking: &Asking, heard: &mut Heard<'_>) -> Result<Chat, Failure> {
        let permit = self.breaker.admit(asking.until);
        let permit = permit.map_err(|wait| Failure::new(Miss::CircuitOpen, format!("for {} ms", wait.as_millis())))?;
        let answer = self.formed(ask, asking, heard).await;
        match answer.as_ref().err().and_then(|failure| failure.class.fault()) {
            Some(kind) => permit.failed(kind),
            None => permit.succeeded(),
        }
        answer
    }

    /// A call in a form that the API takes.
    async fn formed(&self, ask: Ask<'_>, asking: &Asking, heard: &mut Heard<'_>) -> Result<Chat, Failure> {
        let first = self.features.wanted(ask.form);
        let mut options = first;
        loop {
            let failure = match self.timed(self.body(ask, options).await?, asking, heard).await {
                Ok(chat) => {
                    self.features.learn(first, options);
                    return Ok(chat);
                }
                Err(failure) => failure,
            };
            let fewer = failure.is_of_form().then(|| self.features.fewer(options, &failure.detail)).flatten();
            options = fewer.ok_or(failure)?;
        }
    }

    /// A call, counted and traced.
    async fn timed(&self, body: Vec<u8>, asking: &Asking, heard: &mut Heard<'_>) -> Result<Chat, Failure> {
        let mut outcome = Outcome { metrics: &self.metrics, begun: Instant::now(), name: "abandoned" };
        let call = asking.context.call("chat/completions", NAME);
        let headers: HeaderMap =
            call.context().outgoing_headers().filter(|(name, _)| !KEPT.contains(&name.as_str())).collect();
        let answer = async {
            match heard {
                Some(listener) => {
                    listener.begin();
                    self.api.chat_aloud(body, headers, *listener).await
                }
                None => self.api.chat(body, headers).await,
            }
        };
        let answer = timeout(self.timeout, answer).await.unwrap_or_else(|_| Err(late()));
        outcome.name = answer.as_ref().map_or_else(|failure| failure.class.name(), |_| "ok");
        call.ended(answer.as_ref().map(drop).map_err(|failure| failure.class.name()));
        answer
    }

    async fn body(&self, ask: Ask<'_>, options: Options) -> Result<Vec<u8>, Failure> {
        let model = self.model().await.map_err(|missed| Failure::new(missed.class, missed.detail))?;
        let prompt = ask.prompt(options);
        let limit = if options.max_tokens { "max_tokens" } else { "max_completion_tokens" };
        let mut body = BTreeMap::from([
            ("model", json!(model)),
            (
                "messages",
                json!([
                    {"role": "system", "content": prompt.system},
                    {"role": "user", "content": prompt.user},
                ]),
            ),
            ("temperature", json!(self.temperature)),
            (limit, json!(self.max_tokens(ask))),
        ]);
        if options.structured {
            body.insert("response_format", schema::purchase());
        }
        if options.outfit {
            body.insert("response_format", schema::outfit());
        }
        if options.streamed {
            body.insert("stream", json!(true));
        }
        if options.counted {
            body.insert("stream_options", json!({"include_usage": true}));
        }
        if options.unthinking {
            body.insert("chat_template_kwargs", json!({"enable_thinking": false}));
        }
        if ask.form == Form::Label {
            body.extend([("logprobs", json!(true)), ("top_logprobs", json!(TOP))]);
        }
        body.extend(self.extra.iter().map(|(name, value)| (name.as_str(), value.clone())));
        body.retain(|_, value| !value.is_null());
        serde_json::to_vec(&body).map_err(|error| Failure::new(Miss::Invalid, error))
    }

    fn max_tokens(&self, ask: Ask<'_>) -> u32 {
        if self.thinks.load(Ordering::Relaxed) { ask.max_tokens + THOUGHT } else { ask.max_tokens }
    }

    /// What was asked and answered, of a share of the calls and only where that is wanted.
    fn log(&self, prompt: &Prompt, answer: &Result<Chat, Failure>) {
        if self.logged == 0.0 || fastrand::f64() >= self.logged {
            return;
        }
        let (system, user) = (&prompt.system, &prompt.user);
        match answer {
            Ok(chat) => tracing::info!(system, user, completion = chat.text(), "asked the LLM"),
            Err(failure) => tracing::info!(system, user, class = failure.class.name(), "asked the LLM"),
        }
    }
}

/// The call took longer than one may.
fn late() -> Failure {
    Failure::new(Miss::Timeout, "longer than --llm-timeout")
}

/// Counts and times a call when it ends, also where a deadline or its caller ends it.
struct Outcome<'a> {
    metrics: &'a LlmMetrics,
    begun: Instant,
    name: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.metrics.called(self.name, self.begun.elapsed());
    }
}
