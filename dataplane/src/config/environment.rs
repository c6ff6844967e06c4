//! Variables that are there for others, and must not end this server's start.

use std::{
    env,
    ffi::{OsStr, OsString},
};

use clap::Command;

/// The command, without the variables whose value is not meant for it: `arguments` may name the collector that some of them are about.
pub(super) fn own(command: Command, arguments: &[OsString]) -> Command {
    let named = arguments.iter().any(|argument| argument.to_string_lossy().starts_with("--otlp-endpoint"));
    let collector = named || env::var_os("OTEL_EXPORTER_OTLP_ENDPOINT").is_some_and(|value| !value.is_empty());
    command.mut_args(|argument| {
        let value = argument.get_env().and_then(|name| Some((name.to_str()?, env::var_os(name)?)));
        match value {
            Some((name, value)) if !is_ours(name, &value, collector) => argument.env(None::<&'static str>),
            _ => argument,
        }
    })
}

/// Whether what this variable says is said to this server.
fn is_ours(name: &str, value: &OsStr, collector: bool) -> bool {
    // A manifest that leaves a value open leaves the setting as it is; OpenTelemetry asks for just that too.
    let empty = value.is_empty();
    // Kubernetes tells every pod of the Services beside it: for one called hemline-admin, HEMLINE_ADMIN_PORT=tcp://10.0.0.1:80.
    let link = name.ends_with("_PORT") && value.to_string_lossy().contains("://");
    // OpenTelemetry's variables are set for all programs of a pod at once, in forms that some of them don't know. Where nothing is sent
    // they mean nothing.
    let idle = name.starts_with("OTEL_") && !collector;
    !(empty || link || idle)
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn what_kubernetes_and_opentelemetry_say_to_others_is_not_ours() {
        for (name, value, collector, ours) in [
            ("HEMLINE_ADMIN_PORT", "9000", false, true),
            ("HEMLINE_ADMIN_PORT", "tcp://10.0.0.1:80", false, false),
            ("HEMLINE_GRPC_PORT", "udp://10.0.0.1:80", false, false),
            ("PREDICTOR_HOST", "http://predictor", false, true),
            ("HEMLINE_LOG", "", false, false),
            ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://jaeger:5778", false, false),
            ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://jaeger:5778", true, true),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "", true, false),
        ] {
            assert_eq!(is_ours(name, value.as_ref(), collector), ours, "{name}={value} {collector}");
        }
    }
}
