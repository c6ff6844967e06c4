//! Settings of the transformer: flags, environment variables, and their help.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use catalog::store::StoreUrl;
use clap::{ArgAction, Parser, ValueEnum};
use dataplane::{
    client::{Protocol, Settings, Tls, V1Form},
    config::{ServerArgs, flag, timeout},
};
use validator::Validate;

use crate::{
    rankers::{LONGEST_NAME, RankerSetting, directory::Directory, policy::Lines},
    retention::Retention,
    start::STORE,
    stylist,
};

/// Never an error of the command line's parser, which would repeat what it was given, password and all.
#[allow(clippy::unnecessary_wraps)] // clap's signature
fn store_url(text: &str) -> Result<Result<StoreUrl, String>, std::convert::Infallible> {
    Ok(text.parse())
}

/// Recommends articles to customers over KServe's V1 and V2 protocols, ranked by a predictor
#[derive(Parser, Clone, Debug, Validate)]
#[command(name = "transformer", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The bundle to serve from
    #[arg(long, env = "HEMLINE_MODEL_DIR", default_value = "/mnt/models")]
    pub(crate) model_dir: PathBuf,

    /// Customers, what they bought and do, and stock: sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE, as `hemline load`
    /// fills it
    #[arg(long, env = "HEMLINE_STORE", value_name = "URL", hide_env_values = true, value_parser = store_url)]
    pub(crate) store: Result<StoreUrl, String>,

    /// A replica of a PostgreSQL store, to which questions go; it must apply what the other acknowledges (`remote_apply`)
    #[arg(long, env = "HEMLINE_STORE_READS", value_name = "URL", hide_env_values = true, value_parser = store_url)]
    pub(crate) store_reads: Option<Result<StoreUrl, String>>,

    /// Longest that the store may take for one question, within the request's own timeout; then 504
    #[arg(long, env = "HEMLINE_STORE_TIMEOUT", default_value = "2s", value_parser = timeout)]
    pub(crate) store_timeout: Duration,

    /// What to answer where the store fails
    #[arg(long, env = "HEMLINE_ON_STORE_FAILURE", value_enum, default_value_t = OnStoreFailure::Error)]
    pub(crate) on_store_failure: OnStoreFailure,

    /// How long interactions of a kind are kept: KIND=DURATION in days (d) or hours (h), as shown=30d; once for each kind, or several with
    /// semicolons between them. Those that are not named are kept
    #[arg(long, env = "HEMLINE_RETENTION", value_name = "KIND=DURATION", value_delimiter = ';')]
    pub(crate) retention: Vec<Retention>,

    /// Tell customers' ids, ages and purchases to whoever asks: `GET /v1/customers`, and the last events of `GET /v1/interactions`
    #[arg(long, env = "HEMLINE_CUSTOMER_SEARCH", action = ArgAction::Set, num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = flag)]
    pub(crate) customer_search: bool,

    /// The predictor that ranks: host, host:port, http://host:port, https://host:port, or a Unix socket, unix:/path
    #[arg(long, env = "PREDICTOR_HOST")]
    pub(crate) predictor_host: String,

    /// How the predictor is spoken to
    #[arg(long, alias = "protocol", env = "PREDICTOR_PROTOCOL", value_enum, default_value_t = PredictorProtocol::V2)]
    pub(crate) predictor_protocol: PredictorProtocol,

    /// What the instances of a V1 predictor are
    #[arg(long, env = "PREDICTOR_V1_FORM", value_enum, default_value_t = PredictorV1Form::Table)]
    pub(crate) predictor_v1_form: PredictorV1Form,

    /// Speak TLS with the predictor, also where its address does not say https
    #[arg(long, env = "PREDICTOR_USE_SSL", action = ArgAction::Set, num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = flag)]
    pub(crate) predictor_use_ssl: bool,

    /// PEM file with the certificates that vouch for the predictor; the system's where it is not given
    #[arg(long, env = "PREDICTOR_CA")]
    pub(crate) predictor_ca: Option<PathBuf>,

    /// When a connection to the predictor is replaced, so that pods that came later get requests too
    #[arg(long, env = "PREDICTOR_CONNECTION_AGE", default_value = "60s", value_parser = timeout)]
    pub(crate) predictor_connection_age: Duration,

    /// Most retries of a request that found no predictor, or was told to come back
    #[arg(long, env = "PREDICTOR_REQUEST_RETRIES", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10))]
    pub(crate) predictor_request_retries: u32,

    /// Milliseconds for one request, in the place of --request-timeout; callers may say less
    #[arg(long, env = "HEMLINE_DEADLINE_MS", value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=86_400_000))]
    pub(crate) deadline_ms: Option<u64>,

    /// What to answer where the predictor fails
    #[arg(long, env = "HEMLINE_ON_RANKER_FAILURE", value_enum, default_value_t = OnRankerFailure::Error)]
    pub(crate) on_ranker_failure: OnRankerFailure,

    /// Model to ask for at the predictor; this server's own model name where it is not given, as KServe does
    #[arg(long, env = "HEMLINE_PREDICTOR_MODEL")]
    pub(crate) predictor_model: Option<String>,

    /// What the predictor's ranking is called in requests and answers: the ranker of requests that choose none
    #[arg(long, env = "RANKING_MODEL_TYPE", default_value = "ranking")]
    #[validate(length(min = 1, max = LONGEST_NAME, message = "expected 1 to 63 characters"))]
    pub(crate) ranking_model_type: String,

    /// A ranker beside the predictor, for requests that choose it by its name: `NAME=URL[,model=M][,protocol=P]`; once for each, or several
    /// with semicolons between them
    #[arg(long, env = "HEMLINE_RANKERS", value_name = "NAME=URL", value_delimiter = ';')]
    pub(crate) ranker: Vec<RankerSetting>,

    /// The ranker of requests that choose none: NAME, or several with their shares of the customers: `NAME=WEIGHT,NAME=WEIGHT`; the
    /// predictor's where it is not given
    #[arg(long, env = "HEMLINE_ACTIVE_RANKER", value_name = "NAME")]
    pub(crate) active_ranker: Option<String>,

    /// Rankers for customers with fewer purchases than this: `NAME<PURCHASES`, several with commas between them; the first that holds
    #[arg(long, env = "HEMLINE_RANKER_BY_HISTORY", value_name = "NAME<PURCHASES")]
    pub(crate) ranker_by_history: Option<String>,

    /// Rankers that are asked too, for a part of the requests in percent, and compared in metrics, but never served: `NAME` or
    /// `NAME=PERCENT`, several with commas between them
    #[arg(long, env = "HEMLINE_SHADOW_RANKER", value_name = "NAME=PERCENT")]
    pub(crate) shadow_ranker: Option<String>,

    /// Rankers that are asked where the chosen one fails, in this order, with commas between them
    #[arg(long, env = "HEMLINE_FALLBACK_RANKERS", value_name = "NAME")]
    pub(crate) fallback_rankers: Option<String>,

    /// Know as rankers the InferenceServices of this namespace that have the label `hemline.io/ranker`, and take the four settings above
    /// from a ConfigMap where it has them; both are watched
    #[arg(long, env = "HEMLINE_RANKERS_FROM_CLUSTER", action = ArgAction::Set, num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = flag)]
    pub(crate) rankers_from_cluster: bool,

    /// That ConfigMap, with the keys `active`, `by-history`, `shadow` and `fallback`; the model's name and `-ranking` where it is not given
    #[arg(long, env = "HEMLINE_RANKING_CONFIG_MAP", value_name = "NAME")]
    pub(crate) ranking_config_map: Option<String>,

    /// Longest that the predictor may take, within the request's own timeout; then 504
    #[arg(long, env = "PREDICTOR_REQUEST_TIMEOUT_SECONDS", default_value = "8s", value_parser = timeout)]
    pub(crate) predictor_request_timeout_seconds: Duration,

    /// The predictor's output that is the score; the bundle's name for it where it is not given
    #[arg(long, env = "HEMLINE_SCORE_OUTPUT")]
    pub(crate) score_output: Option<String>,

    /// Column of the score where that output has one for each class; the last where it is not given
    #[arg(long, env = "HEMLINE_SCORE_COLUMN")]
    pub(crate) score_column: Option<usize>,

    /// How many articles are retrieved for ranking, and the most that a request can ask for
    #[arg(long, env = "HEMLINE_CANDIDATES", default_value_t = 100)]
    #[validate(range(min = 1, max = 1000, message = "expected 1 to 1000"))]
    pub(crate) candidates: usize,

    /// Whether the model `stylist` is published, which finds outfits by words
    #[arg(long, env = "HEMLINE_STYLIST", value_enum, default_value_t = StylistSwitch::Auto)]
    pub(crate) stylist: StylistSwitch,

    /// The predictor-llm that thinks of outfits: an address as that of the predictor; without it requests for outfits are searched for as they
    /// are, marked `degraded`
    #[arg(long, env = "HEMLINE_STYLIST_HOST", value_name = "HOST")]
    pub(crate) stylist_host: Option<String>,

    /// Model to ask for there
    #[arg(long, env = "HEMLINE_STYLIST_MODEL", value_name = "NAME", default_value = stylist::MODEL)]
    pub(crate) stylist_model: String,

    /// Longest that it may take for an outfit, within the request's own timeout
    #[arg(long, env = "HEMLINE_STYLIST_TIMEOUT", default_value = "60s", value_parser = timeout)]
    pub(crate) stylist_timeout: Duration,

    /// What to do with customers that neither store nor training knows
    #[arg(long, env = "HEMLINE_UNKNOWN_CUSTOMER", value_enum, default_value_t = UnknownCustomer::Serve)]
    pub(crate) unknown_customer: UnknownCustomer,

    /// ONNX Runtime's shared library
    #[arg(long, env = "ORT_DYLIB_PATH", default_value = "libonnxruntime.so")]
    pub(crate) onnxruntime: PathBuf,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How the predictor is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictorProtocol {
    /// V1 REST: rows of the bundle's ranking features, or of what the predictor lists where it speaks V2 too
    V1,
    /// V2 REST: tensors by the names in the predictor's metadata; binary where it takes them
    V2,
    /// V2 over gRPC: the same tensors
    GrpcV2,
}

/// What the instances of a V1 predictor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PredictorV1Form {
    /// One: a table of rows, with their article ids beside it
    Table,
    /// One a candidate: a plain list of values, as scikit-learn servers take it
    Rows,
}

impl From<PredictorV1Form> for V1Form {
    fn from(form: PredictorV1Form) -> Self {
        match form {
            PredictorV1Form::Table => Self::Table,
            PredictorV1Form::Rows => Self::Rows,
        }
    }
}

/// What to answer where the predictor fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnRankerFailure {
    /// Its failure, by class; without a predictor the server is not ready
    Error,
    /// The order of retrieval, or what is most sold where retrieval fails too, marked `degraded`; the server is ready without a predictor
    Degrade,
}

/// What to answer where the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnStoreFailure {
    /// Its failure, by class; without the store the server is not ready
    Error,
    /// What the store said last, without purchases, marked `degraded`; the server is ready without the store
    Degrade,
}

impl From<PredictorProtocol> for Protocol {
    fn from(protocol: PredictorProtocol) -> Self {
        match protocol {
            PredictorProtocol::V1 => Self::V1,
            PredictorProtocol::V2 => Self::V2,
            PredictorProtocol::GrpcV2 => Self::GrpcV2,
        }
    }
}

/// Whether there is a stylist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StylistSwitch {
    /// It is published where the bundle has what it takes
    Auto,
    /// It is not published
    Off,
}

/// What to do with customers that neither store nor training knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UnknownCustomer {
    /// Answer from what the request says, marked `cold_start`
    Serve,
    /// Answer 404
    Reject,
}

impl Args {
    /// The same with one deadline, whichever flag says it.
    pub(crate) fn due(mut self) -> Self {
        if let Some(deadline) = self.deadline_ms {
            self.server.request_timeout = Duration::from_millis(deadline);
        }
        self
    }

    /// The predictor, as a ranker among the others.
    pub(crate) fn default_ranker(&self) -> RankerSetting {
        RankerSetting {
            name: self.ranking_model_type.clone(),
            host: self.predictor_host.clone(),
            model: self.predictor_model.clone(),
            protocol: Some(self.predictor_protocol),
        }
    }

    /// What flags say of who answers whom.
    pub(crate) fn lines(&self) -> Lines {
        Lines {
            active: self.active_ranker.clone(),
            by_history: self.ranker_by_history.clone(),
            shadow: self.shadow_ranker.clone(),
            fallback: self.fallback_rankers.clone(),
        }
    }

    /// How a ranker is called.
    ///
    /// # Errors
    /// The certificates can't be read; one line that names the flag.
    pub(crate) fn call(&self, ranker: &RankerSetting) -> Result<Settings, String> {
        let tls = || Tls::new(self.predictor_ca.as_deref()).map_err(|reason| format!("--predictor-ca: {reason}"));
        Ok(Settings {
            protocol: ranker.protocol.unwrap_or(self.predictor_protocol).into(),
            v1_form: if self.is_default(ranker) { self.predictor_v1_form.into() } else { V1Form::Table },
            tls: self.is_encrypted(ranker).then(tls).transpose()?,
            connection_age: self.predictor_connection_age,
            timeout: self.predictor_request_timeout_seconds,
            retries: self.predictor_request_retries,
            ..Settings::default()
        })
    }

    /// What is wrong with a ranker, in one line that names the flag that it came by.
    pub(crate) fn at(&self, ranker: &RankerSetting, reason: &str) -> String {
        match self.is_default(ranker) {
            true => format!("--predictor-host: {reason}"),
            false => format!("--ranker: `{}`: {reason}", ranker.name),
        }
    }

    fn is_default(&self, ranker: &RankerSetting) -> bool {
        ranker.name == self.ranking_model_type
    }

    fn is_encrypted(&self, ranker: &RankerSetting) -> bool {
        ranker.host.starts_with("https://") || (self.is_default(ranker) && self.predictor_use_ssl)
    }

    /// The store, and its replica for reads.
    ///
    /// # Errors
    /// A URL names none; one line that names the flag.
    pub(crate) fn stores(&self) -> Result<(StoreUrl, Option<StoreUrl>), String> {
        let store = self.store.clone().map_err(|reason| format!("--store: {reason}"))?;
        let reads = self.store_reads.clone().transpose().map_err(|reason| format!("--store-reads: {reason}"))?;
        match (&store, &reads) {
            (StoreUrl::Postgres(_), Some(StoreUrl::Postgres(_))) | (_, None) => Ok((store, reads)),
            _ => Err("--store-reads: expected a PostgreSQL replica of the PostgreSQL that --store names".to_owned()),
        }
    }

    /// Whether an answer without the store is better than none.
    pub(crate) fn serves_without_store(&self) -> bool {
        self.on_store_failure == OnStoreFailure::Degrade
    }

    /// Whether a stylist is published where the bundle has one.
    pub(crate) fn has_stylist(&self) -> bool {
        self.stylist == StylistSwitch::Auto
    }

    /// Whether an answer in retrieval order is better than none.
    pub(crate) fn degrades(&self) -> bool {
        self.on_ranker_failure == OnRankerFailure::Degrade
    }

    /// Checks what types alone can't.
    ///
    /// # Errors
    /// One line that names the flag.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.validate().map_err(|errors| {
            let errors = errors.field_errors();
            let first = errors.iter().next().and_then(|(field, errors)| Some((field, errors.first()?)));
            first.map_or_else(
                || "wrong settings".to_owned(),
                |(field, error)| {
                    format!("--{}: {}", field.replace('_', "-"), error.message.as_deref().unwrap_or("wrong"))
                },
            )
        })?;
        self.stores()?;
        if self.has_stylist() && self.server.model_name == stylist::MODEL {
            return Err(format!("--stylist: `{}` is this server's model already; say off", stylist::MODEL));
        }
        self.check_rankers()
    }

    fn check_rankers(&self) -> Result<(), String> {
        if [&self.ranking_model_type]
            .into_iter()
            .chain(self.ranker.iter().map(|ranker| &ranker.name))
            .any(|name| name == STORE)
        {
            return Err(format!("--ranker: `{STORE}` is what health calls the store; a ranker needs another name"));
        }
        let mut names = BTreeSet::from([self.ranking_model_type.as_str()]);
        if let Some(twice) = self.ranker.iter().find(|ranker| !names.insert(&ranker.name)) {
            let taken = if self.is_default(twice) { "the name of the predictor's ranking" } else { "given twice" };
            return Err(format!("--ranker: `{}` is {taken}; each needs a name of its own", twice.name));
        }
        let encrypted = self.ranker.iter().chain([&self.default_ranker()]).any(|ranker| self.is_encrypted(ranker));
        if self.predictor_ca.is_some() && !encrypted {
            return Err("--predictor-ca: needs --predictor-use-ssl or a predictor at https://".to_owned());
        }
        if self.ranking_config_map.is_some() && !self.rankers_from_cluster {
            return Err("--ranking-config-map: needs --rankers-from-cluster".to_owned());
        }
        let directory = Directory::from_flags(self)?;
        if self.rankers_from_cluster { Ok(()) } else { directory.check_complete() }
    }
}
