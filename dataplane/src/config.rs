//! Settings that every server has, and how a wrong one ends a start: one clear line, exit 64.

use std::{
    ffi::OsString,
    fmt, fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{ArgAction, Args};

use crate::{
    limits::Limits,
    metrics::Metrics,
    telemetry::TelemetryArgs,
    worker::{Admission, Batching},
};

mod environment;
pub(crate) mod kserve;
mod values;

use values::{attribute, model_name};
pub use values::{duration, flag, timeout};

/// Exit code of a start that its settings or files made impossible (`EX_USAGE`).
pub const EXIT_CONFIG: u8 = 64;

/// Where Kubernetes looks for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Settings of any server on this data plane.
#[derive(Args, Clone, Debug)]
pub struct ServerArgs {
    /// Address to listen on
    #[arg(long, env = "HEMLINE_HOST", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub host: IpAddr,

    /// Port for REST, health and metrics; 0 takes a free one
    #[arg(long, env = "HEMLINE_HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,

    /// Whether to listen for gRPC
    #[arg(long, env = "HEMLINE_ENABLE_GRPC", default_value = "true", value_parser = flag, action = ArgAction::Set)]
    pub enable_grpc: bool,

    /// Port for gRPC; it serves what the REST port serves, and 0 takes a free one
    #[arg(long, env = "HEMLINE_GRPC_PORT", default_value_t = 8081)]
    pub grpc_port: u16,

    /// Unix socket to listen on too, in plain text
    #[arg(long, env = "HEMLINE_UDS", value_name = "PATH")]
    pub uds: Option<PathBuf>,

    /// Port for health, metrics and the log level alone, always in plain text; 0 takes a free one
    #[arg(long, env = "HEMLINE_ADMIN_PORT")]
    pub admin_port: Option<u16>,

    /// What callers must prove, and be shown.
    #[command(flatten)]
    pub tls: TlsArgs,

    /// How long and how many connections are borne with.
    #[command(flatten)]
    pub connections: ConnectionArgs,

    /// Name of the model in every path
    #[arg(long, env = "INFERENCE_SERVICE_NAME", default_value = "hemline", value_parser = model_name)]
    pub model_name: String,

    /// Threads that compute, at most four a core; 0 is one a core
    #[arg(long, env = "HEMLINE_WORKERS", default_value_t = 0)]
    pub workers: u32,

    /// Requests that may wait for a thread; beyond it they are refused at once with 429
    #[arg(long, env = "HEMLINE_QUEUE", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub queue: u32,

    /// Inferences that may be under way at once; beyond it they are refused with 429 before their body is read
    #[arg(long, env = "HEMLINE_MAX_IN_FLIGHT", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_in_flight: u32,

    /// Time for one request, for example 500ms or 10s; then 504
    #[arg(long, env = "HEMLINE_REQUEST_TIMEOUT", default_value = "10s", value_parser = timeout)]
    pub request_timeout: Duration,

    /// Largest body in bytes; beyond it 413
    #[arg(long, env = "HEMLINE_MAX_BODY_BYTES", default_value_t = 8 * 1024 * 1024, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_body_bytes: u64,

    /// Lists and objects that may be inside each other in a body of JSON
    #[arg(long, env = "HEMLINE_MAX_JSON_DEPTH", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub max_json_depth: u32,

    /// Most instances in one V1 request
    #[arg(long, env = "HEMLINE_MAX_INSTANCES", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_instances: u32,

    /// Answer control calls: model load and unload, log level
    #[arg(long, env = "HEMLINE_ENABLE_CONTROL", action = ArgAction::Set, num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = flag)]
    pub enable_control: bool,

    /// Time between two looks at the model's files, to load what is new there; 0 only at SIGHUP or when asked
    #[arg(long, env = "HEMLINE_MODEL_WATCH", default_value = "10s", value_parser = duration)]
    pub model_watch: Duration,

    /// On SIGTERM, time between saying "not ready" and closing the listeners, so that endpoints are withdrawn first
    #[arg(long, env = "HEMLINE_DRAIN_DELAY", default_value = "3s", value_parser = duration)]
    pub drain_delay: Duration,

    /// After the listeners are closed, time for requests under way to end, whatever their protocol
    #[arg(long, env = "HEMLINE_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,

    #[command(flatten)]
    #[allow(missing_docs)] // clap would take it for help
    pub events: CloudEvents,

    /// What to log: error, warn, info, debug, trace, or target=level,…
    #[arg(long, env = "HEMLINE_LOG", default_value = "info")]
    pub log_level: String,

    /// Logs and traces
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// TLS on the REST and gRPC ports.
#[derive(Args, Clone, Debug)]
pub struct TlsArgs {
    /// PEM file with the certificate chain; with it the REST and gRPC ports speak TLS only
    #[arg(long, env = "HEMLINE_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key
    #[arg(long, env = "HEMLINE_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// PEM file with the authorities that a caller's certificate must come from; without it, callers need none
    #[arg(long, env = "HEMLINE_TLS_CLIENT_CA", value_name = "FILE", requires = "tls_cert")]
    pub tls_client_ca: Option<PathBuf>,
}

/// What connections are held to.
#[derive(Args, Clone, Debug)]
pub struct ConnectionArgs {
    /// Time for a request's head, from its first byte to its last
    #[arg(long, env = "HEMLINE_HEADER_READ_TIMEOUT", default_value = "10s", value_parser = timeout)]
    pub header_read_timeout: Duration,

    /// Time after which a connection without a request is closed
    #[arg(
        long,
        alias = "timeout-keep-alive",
        env = "HEMLINE_KEEP_ALIVE_TIMEOUT",
        default_value = "65s",
        value_parser = timeout
    )]
    pub keep_alive_timeout: Duration,

    /// Most connections open at once; further ones wait to be accepted
    #[arg(long, env = "HEMLINE_MAX_CONNECTIONS", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
}

/// What answers to CloudEvents say of themselves: the settings of KServe's servers, under the names they have there.
#[derive(Args, Clone, Debug)]
pub struct CloudEvents {
    /// `type` of the event that answers one
    #[arg(long = "ce-type", env = "CE_TYPE", default_value = Self::TYPE, value_parser = attribute)]
    pub kind: String,

    /// `source` of the event that answers one; io.kserve.inference.{model} where it is not given
    #[arg(long = "ce-source", env = "CE_SOURCE", value_parser = attribute)]
    pub source: Option<String>,

    /// Copy the other attributes of the event that is answered
    #[arg(long = "ce-merge", env = "CE_MERGE", action = ArgAction::Set, num_args = 0..=1, default_value = "false", default_missing_value = "true", value_parser = flag)]
    pub merge: bool,
}

impl CloudEvents {
    const TYPE: &str = "io.kserve.inference.response";
}

impl Default for CloudEvents {
    fn default() -> Self {
        Self { kind: Self::TYPE.to_owned(), source: None, merge: false }
    }
}

impl ServerArgs {
    /// The bounds on a request.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            body: usize::try_from(self.max_body_bytes).unwrap_or(usize::MAX),
            json_depth: self.max_json_depth as usize,
            instances: self.max_instances as usize,
            time: self.request_timeout,
        }
    }

    /// How many requests to `model` may wait, measured.
    #[must_use]
    pub fn admission(&self, metrics: &Metrics, model: &str) -> Admission {
        Admission { places: self.queue as usize, metrics: Some(metrics.queue(model)) }
    }

    /// How many threads compute.
    #[must_use]
    pub fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // KServe passes on how many requests a container takes at once. That is a hint: a hundred threads on two cores, with a model
        // each, would only take memory and turns.
        match self.workers as usize {
            0 => cores,
            workers => workers.min(4 * cores),
        }
    }
}

/// Settings of a server whose model computes requests together.
#[derive(Args, Clone, Debug)]
pub struct BatchArgs {
    /// Rows of waiting requests that the model computes together; 1 computes each request on its own
    #[arg(long, env = "HEMLINE_MAX_BATCH_SIZE", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_batch_size: u32,

    /// How long a request waits for others to be computed with; 0 takes those that wait already
    #[arg(long, env = "HEMLINE_MAX_BATCH_DELAY", default_value = "0ms", value_parser = duration)]
    pub max_batch_delay: Duration,
}

impl BatchArgs {
    /// How requests are computed together.
    #[must_use]
    pub fn batching(&self) -> Batching {
        Batching { max_rows: self.max_batch_size as usize, max_delay: self.max_batch_delay }
    }
}

/// Reads settings from the command line and the environment. KServe writes flags with underscores; both spellings are one flag, and
/// where both came the hyphens stand, which are no doing of KServe's. Else the last of several stands. Flags of its servers that mean
/// nothing here are passed over, and so are variables that were never meant for this server.
///
/// # Errors
/// A wrong setting: the exit code to end with. The message is printed. `--help` and `--version` end with success.
pub fn parse<A: clap::Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<A, ExitCode> {
    let command = A::command().args_override_self(true);
    let arguments = kserve::arguments(&command, arguments);
    let mut command = environment::own(command, &arguments);
    let matches = command.try_get_matches_from_mut(arguments);
    let settings = matches
        .and_then(|mut matches| A::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command)));
    settings.map_err(|error| {
        if error.use_stderr() {
            return refuse(one_line(&error.render().to_string()));
        }
        let _ = error.print();
        ExitCode::SUCCESS
    })
}

/// Ends a start that can't succeed: one line on stderr, and in Kubernetes' termination log. Returns the exit code for it.
#[must_use]
pub fn refuse(reason: impl fmt::Display) -> ExitCode {
    let reason: String = reason.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    eprintln!("{reason}");
    if fs::exists(TERMINATION_LOG).unwrap_or(false) {
        // Nothing else is left to do if this fails: the reason already stands on stderr.
        let _ = fs::write(TERMINATION_LOG, reason);
    }
    ExitCode::from(EXIT_CONFIG)
}

/// clap's message without its usage hints: what is wrong stands before the first blank line.
fn one_line(message: &str) -> String {
    let lines = message.trim().lines().take_while(|line| !line.trim().is_empty());
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{BatchArgs, ServerArgs, one_line, parse};
    use crate::worker::Batching;

    #[derive(clap::Parser)]
    struct Settings {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        batch: BatchArgs,
    }

    fn settings(arguments: &[&str]) -> Result<Settings, std::process::ExitCode> {
        parse(std::iter::once("server").chain(arguments.iter().copied()).map(Into::into))
    }

    #[test]
    fn flags_are_read_in_kserves_spelling_and_in_ours() {
        for arguments in [["--http_port", "9", "--model_name=a_b"], ["--http-port", "9", "--model-name=a_b"]] {
            let settings = settings(&arguments).ok().unwrap();
            assert_eq!((settings.server.http_port, settings.server.model_name.as_str()), (9, "a_b"));
        }
    }

    #[test]
    fn what_kserve_adds_stands_back_behind_what_the_user_wrote() {
        for arguments in [
            vec![
                "--http-port",
                "9",
                "--model-name=mine",
                "--timeout-keep-alive=5",
                "--http_port",
                "8080",
                "--model_name",
                "x",
            ],
            vec![
                "--http_port",
                "8080",
                "--model_name=x",
                "--keep_alive_timeout=9",
                "--http-port=9",
                "--model-name",
                "mine",
                "--timeout-keep-alive",
                "5",
            ],
        ] {
            let server = settings(&arguments).ok().unwrap().server;
            assert_eq!((server.http_port, server.model_name.as_str()), (9, "mine"), "{arguments:?}");
            assert_eq!(server.connections.keep_alive_timeout, Duration::from_secs(5), "{arguments:?}");
        }
    }

    #[test]
    fn of_what_is_said_several_times_the_last_stands() {
        let arguments = ["--queue=1", "--keep-alive-timeout=7", "--timeout-keep-alive", "5", "--queue", "2"];
        let server = settings(&arguments).ok().unwrap().server;
        assert_eq!((server.queue, server.connections.keep_alive_timeout), (2, Duration::from_secs(5)));
        assert_eq!(settings(&["--http_port=1", "--http_port=2"]).ok().unwrap().server.http_port, 2);
    }

    #[test]
    fn batching_is_off_unless_it_is_asked_for() {
        assert_eq!(settings(&[]).ok().unwrap().batch.batching(), Batching::OFF);
        let asked = settings(&["--max-batch-size", "32", "--max_batch_delay=2ms"]).ok().unwrap();
        assert_eq!(asked.batch.batching(), Batching { max_rows: 32, max_delay: Duration::from_millis(2) });
        assert!(settings(&["--max-batch-size", "0"]).is_err());
    }

    #[test]
    fn grpc_is_switched_as_kserve_switches_it() {
        for (text, on) in [("y", true), ("Yes", true), ("1", true), ("on", true), ("false", false), ("0", false)] {
            assert_eq!(settings(&["--enable_grpc", text]).ok().unwrap().server.enable_grpc, on, "{text}");
        }
        assert!(settings(&[]).ok().unwrap().server.enable_grpc);
        let kept = settings(&["--timeout-keep-alive", "5"]).ok().unwrap().server.connections.keep_alive_timeout;
        assert_eq!(kept, Duration::from_secs(5));
    }

    #[test]
    fn a_wrong_setting_is_refused() {
        for arguments in [
            vec!["--http-port", "x"],
            vec!["--workers", "many"],
            vec!["--model-name", "a/b"],
            vec!["--nonsense"],
            vec!["--enable-grpc", "maybe"],
            vec!["--max-connections", "0"],
            vec!["--keep-alive-timeout", "0"],
            vec!["--tls-cert", "cert.pem"],
            vec!["--tls-key", "key.pem"],
            vec!["--tls-client-ca", "ca.pem"],
        ] {
            assert!(settings(&arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_refusal_is_one_line() {
        let message = "error: the following required arguments were not provided:\n  --store <STORE>\n\nUsage: x\n";
        assert_eq!(one_line(message), "the following required arguments were not provided: --store <STORE>");
    }
}
