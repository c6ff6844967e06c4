//! Settings of the predictor: flags, environment variables, and their help.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use dataplane::config::{ServerArgs, duration, timeout};

use crate::api::Secret;

/// Scores candidates with a large language model, over KServe's V1 and V2 protocols
#[derive(Parser, Clone, Debug)]
#[command(name = "predictor-llm", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Base URL of an OpenAI-compatible API, for example `https://api.openai.com/v1`; /v1 is added where it has no path
    #[arg(long, env = "LLM_URL", hide_env_values = true)]
    pub(crate) llm_url: String,

    /// Model to ask for; the first that the API lists where it is not given
    #[arg(long, env = "LLM_MODEL")]
    pub(crate) llm_model: Option<String>,

    /// Key that the API asks for; on a command line others can read it, so better in the variable or a file
    #[arg(long, env = "LLM_API_KEY", hide_env_values = true)]
    pub(crate) llm_api_key: Option<Secret>,

    /// File with that key, read again when it changes
    #[arg(long, env = "LLM_API_KEY_FILE", value_name = "FILE", conflicts_with = "llm_api_key")]
    pub(crate) llm_api_key_file: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) scoring: ScoringArgs,

    #[command(flatten)]
    pub(crate) calls: CallArgs,

    #[command(flatten)]
    pub(crate) spending: SpendingArgs,

    #[command(flatten)]
    pub(crate) stylist: StylistArgs,

    /// What to answer where the LLM as a whole can't be had
    #[arg(long, env = "HEMLINE_ON_LLM_FAILURE", value_enum, default_value_t = OnLlmFailure::Degrade)]
    pub(crate) on_llm_failure: OnLlmFailure,

    /// What becomes of a start whose LLM answers, and gives a handful of fixed candidates one score or none
    #[arg(long, env = "HEMLINE_LLM_SELF_TEST", value_enum, default_value_t = SelfTest::Require)]
    pub(crate) self_test: SelfTest,

    /// Share of the calls whose prompt and completion are logged, 0 to 1; they hold what customers bought
    #[arg(long, env = "HEMLINE_LLM_LOG_PROMPTS", default_value_t = 0.0, value_parser = share)]
    pub(crate) log_prompts: f64,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How scores are made.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ScoringArgs {
    /// How candidates are scored
    #[arg(long, env = "HEMLINE_LLM_STRATEGY", value_enum, default_value_t = Strategy::Pointwise)]
    pub(crate) strategy: Strategy,

    /// TOML file with the prompts; those that are built in where it is not given
    #[arg(long, env = "HEMLINE_LLM_TEMPLATE", value_name = "FILE")]
    pub(crate) template: Option<PathBuf>,

    /// Orders in which listwise shows the candidates, each a call; their scores are averaged
    #[arg(long, env = "HEMLINE_LLM_PERMUTATIONS", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub(crate) permutations: u8,

    /// Scores that are kept for equal questions; 0 keeps none
    #[arg(long, env = "HEMLINE_LLM_CACHE_ENTRIES", default_value_t = 100_000)]
    pub(crate) cache_entries: u64,

    /// How long a score is kept
    #[arg(long, env = "HEMLINE_LLM_CACHE_TTL", default_value = "1h", value_parser = ttl)]
    pub(crate) cache_ttl: Duration,
}

/// How the API is called.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct CallArgs {
    /// Sampling temperature
    #[arg(long, env = "HEMLINE_LLM_TEMPERATURE", default_value_t = 0.0, value_parser = temperature)]
    pub(crate) temperature: f64,

    /// Calls at once, of all requests together
    #[arg(long, env = "HEMLINE_LLM_CONCURRENCY", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: u16,

    /// Longest that one call may take, within the request's own timeout
    #[arg(long, env = "HEMLINE_LLM_TIMEOUT", default_value = "30s", value_parser = timeout)]
    pub(crate) llm_timeout: Duration,

    /// Most retries of a call that found nobody, or was told to come back
    #[arg(long, env = "HEMLINE_LLM_RETRIES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) llm_retries: u32,

    /// Whether the API is asked for JSON of a schema
    #[arg(long, env = "HEMLINE_LLM_STRUCTURED_OUTPUT", value_enum, default_value_t = StructuredOutput::Auto)]
    pub(crate) structured_output: StructuredOutput,

    /// JSON object whose members are put into each completion request; a member that is null is left out of it
    #[arg(long, env = "HEMLINE_LLM_EXTRA", value_name = "JSON")]
    pub(crate) llm_extra: Option<String>,
}

/// What tokens cost, and how many may be spent.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct SpendingArgs {
    /// Price of a million prompt tokens, in whatever currency
    #[arg(long, env = "HEMLINE_LLM_PRICE_INPUT", value_name = "PRICE", default_value_t = 0.0, value_parser = price)]
    pub(crate) price_input: f64,

    /// Price of a million completion tokens
    #[arg(long, env = "HEMLINE_LLM_PRICE_OUTPUT", value_name = "PRICE", default_value_t = 0.0, value_parser = price)]
    pub(crate) price_output: f64,

    /// Price of a million prompt tokens that the API had in its cache; as others where it is not given
    #[arg(long, env = "HEMLINE_LLM_PRICE_CACHED", value_name = "PRICE", value_parser = price)]
    pub(crate) price_cached: Option<f64>,

    /// Most tokens that one request may spend; candidates beyond it get the default
    #[arg(long, env = "HEMLINE_LLM_MAX_TOKENS_PER_REQUEST", value_name = "TOKENS")]
    pub(crate) max_tokens_per_request: Option<u64>,

    /// Most tokens that all requests together may spend within a minute
    #[arg(long, env = "HEMLINE_LLM_MAX_TOKENS_PER_MINUTE", value_name = "TOKENS")]
    pub(crate) max_tokens_per_minute: Option<u64>,

    /// The most that all requests together may cost within a minute
    #[arg(long, env = "HEMLINE_LLM_MAX_COST_PER_MINUTE", value_name = "COST", value_parser = price)]
    pub(crate) max_cost_per_minute: Option<f64>,
}

/// The second model.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct StylistArgs {
    /// Whether outfits are put together too, as a second model
    #[arg(long, env = "HEMLINE_LLM_STYLIST", value_enum, default_value_t = Switch::On)]
    pub(crate) stylist: Switch,

    /// Name of that model
    #[arg(long, env = "HEMLINE_LLM_STYLIST_MODEL", value_name = "NAME", default_value = "stylist", value_parser = model_name)]
    pub(crate) stylist_model: String,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// It is
    On,
    /// It is not
    Off,
}

/// How candidates are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Strategy {
    /// A call a candidate, which asks for the probability of a purchase
    Pointwise,
    /// One call for all candidates; scores are the probabilities of their labels. Pointwise where the API gives none
    Listwise,
}

impl Strategy {
    /// As answers and metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pointwise => "pointwise",
            Self::Listwise => "listwise",
        }
    }
}

/// Whether the API is asked for JSON of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StructuredOutput {
    /// Until the API refuses it
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// What to answer where the LLM as a whole can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnLlmFailure {
    /// Scores of 0, in the order of the request, marked `degraded`
    Degrade,
    /// 503, or 504 where it was too late
    Error,
}

/// What becomes of a start whose self-test failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SelfTest {
    /// It is not ready, and tests again
    Require,
    /// It is ready, and says so in the log
    Warn,
}

fn number(text: &str, most: f64, expected: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| (0.0..=most).contains(number)).ok_or_else(|| format!("expected {expected}"))
}

/// A name that every path can hold, as `--model-name` is one.
fn model_name(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(valid) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 253 letters, digits, `-`, `_` or `.`".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    number(text, 1.0, "a number from 0 to 1")
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, 2.0, "a number from 0 to 2")
}

fn price(text: &str) -> Result<f64, String> {
    number(text, 1e9, "a number from 0")
}

/// A duration that may also be in hours.
fn ttl(text: &str) -> Result<Duration, String> {
    let hours = text.strip_suffix('h').and_then(|hours| hours.trim().parse::<f64>().ok());
    let seconds = hours.map(|hours| (hours * 3600.0).to_string());
    duration(seconds.as_deref().unwrap_or(text)).map_err(|_| "expected a duration such as 30s, 10m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{number, ttl};

    #[test]
    fn what_is_no_number_of_the_range_is_refused() {
        assert_eq!(number("0.5", 1.0, ""), Ok(0.5));
        for wrong in ["", "x", "-0.1", "1.1", "NaN", "inf"] {
            assert_eq!(number(wrong, 1.0, "a share"), Err("expected a share".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_cache_may_keep_for_hours() {
        assert_eq!(ttl("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(ttl("90s"), Ok(Duration::from_secs(90)));
        assert!(ttl("48h").is_err() && ttl("h").is_err());
    }
}
