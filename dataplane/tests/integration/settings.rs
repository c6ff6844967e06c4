//! What is said to a server as it starts, by whoever runs it, by KServe, and by chance.

use crate::toy::Process;

#[test]
fn variables_that_were_meant_for_others_do_not_end_the_start() {
    let links = [
        ("HEMLINE_ADMIN_PORT", "tcp://10.0.0.1:80"),
        ("OTEL_TRACES_SAMPLER_ARG", "endpoint=http://jaeger:5778,pollingIntervalMs=5000"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        ("HEMLINE_LOG", ""),
    ];
    let toy = Process::start_among(&links, &[]);
    assert_eq!(toy.address("admin"), None);
    let toy = Process::start_among(&[("HEMLINE_ADMIN_PORT", "0")], &[]);
    assert!(toy.address("admin").is_some(), "a port is a port");
}

#[test]
fn a_log_level_that_is_none_ends_the_start() {
    for level in ["debgu", "info,hyper", ""] {
        let (code, line) = Process::refusal(&["--log-level", level]);
        assert_eq!((code, line.lines().count()), (Some(64), 1), "{line}");
        assert!(line.contains("--log-level"), "{line}");
    }
}

#[test]
fn arguments_of_kserves_servers_are_passed_over_with_a_warning() {
    let toy = Process::start(&["--max_threads", "4", "--enable_docs_url=true", "--http_port", "8080"]);
    let warned = toy.before.iter().filter(|line| line["message"] == "an argument of KServe's servers, passed over");
    let warned = warned.map(|line| format!("{} {} {}", line["level"], line["argument"], line["instead"]));
    let warned: Vec<_> = warned.collect();
    assert_eq!(warned, [r#""WARN" "--max-threads" "--workers""#, r#""WARN" "--enable-docs-url" null"#]);
}
