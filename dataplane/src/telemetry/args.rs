//! Settings of logs and traces.

use clap::{ArgAction, Args, ValueEnum};

use crate::config::flag;

/// What is told of requests, and to whom. OpenTelemetry's own variables are read where it has one.
#[derive(Args, Clone, Debug)]
pub struct TelemetryArgs {
    /// Log a line for each inference that was answered; refusals and failures are always logged
    #[arg(long, env = "HEMLINE_ACCESS_LOG", action = ArgAction::Set, num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = flag)]
    pub access_log: bool,

    /// Tell callers over REST in `server-timing` what the steps of an inference took
    #[arg(long, env = "HEMLINE_SERVER_TIMING", action = ArgAction::Set, num_args = 0..=1, default_value = "true", default_missing_value = "true", value_parser = flag)]
    pub server_timing: bool,

    /// Collector that gets traces, for example http://collector:4317; without it there are none
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otlp_endpoint: Option<String>,

    /// How the collector is spoken to
    #[arg(long, env = "OTEL_EXPORTER_OTLP_PROTOCOL", value_enum, default_value_t = OtlpProtocol::Grpc)]
    pub otlp_protocol: OtlpProtocol,

    /// Share of traces that start here and are recorded, 0 to 1; a caller's own decision is followed
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "0.01", value_parser = share)]
    pub otlp_sample: f64,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OtlpProtocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP over HTTP, in protobuf.
    #[value(alias = "http/protobuf")]
    Http,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}
