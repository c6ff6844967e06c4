//! Arguments that KServe's own servers take and this one may have no use for. Whoever swaps an image keeps them: they are passed over,
//! and told of when there is a log.

use std::{collections::BTreeSet, ffi::OsString, sync::OnceLock};

/// Each by its name, with what does the same here, if anything does.
const KNOWN: [(&str, Option<&str>); 18] = [
    ("access-log-format", None),
    ("configure-logging", None),
    ("enable-docs-url", None),
    ("enable-latency-logging", Some("--access-log")),
    ("enable-predictor-health-check", None),
    ("event-loop", None),
    ("grpc-max-receive-message-length", Some("--max-body-bytes")),
    ("grpc-max-send-message-length", None),
    ("log-config-file", None),
    ("max-asyncio-workers", None),
    ("max-threads", Some("--workers")),
    ("model-dir", None),
    ("predictor-host", None),
    ("predictor-protocol", None),
    ("predictor-request-retries", None),
    ("predictor-request-timeout-seconds", None),
    ("predictor-use-ssl", None),
    ("protocol", None),
];

static IGNORED: OnceLock<Vec<usize>> = OnceLock::new();

/// Takes those out of the arguments that `command` does not know, with their values, and remembers them for [`warn`].
pub(super) fn leave_out(command: &clap::Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let (left, ignored) = split(command, arguments);
    let _ = IGNORED.set(ignored);
    left
}

/// Tells of what was passed over.
pub(crate) fn warn() {
    for (argument, instead) in IGNORED.get().into_iter().flatten().map(|&number| KNOWN[number]) {
        tracing::warn!(argument = format!("--{argument}"), instead, "an argument of KServe's servers, passed over");
    }
}

fn split(command: &clap::Command, arguments: Vec<OsString>) -> (Vec<OsString>, Vec<usize>) {
    let own: BTreeSet<_> = command
        .get_arguments()
        .flat_map(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long().into_iter().chain(aliases).map(ToOwned::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let unused = |argument: &OsString| {
        let name = argument.to_str()?.strip_prefix("--")?;
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        let known = KNOWN.iter().position(|(known, _)| *known == name && !own.contains(name))?;
        Some((known, value.is_some()))
    };
    let (mut left, mut ignored) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        let Some((known, has_value)) = unused(&argument) else {
            left.push(argument);
            continue;
        };
        ignored.push(known);
        if !has_value {
            // What follows is its value, unless it is an argument itself.
            arguments.next_if(|next| !next.to_string_lossy().starts_with("--"));
        }
    }
    (left, ignored)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::{KNOWN, split};

    fn left_of(arguments: &[&str]) -> (Vec<String>, Vec<&'static str>) {
        let command =
            Command::new("c").arg(Arg::new("a").long("http-port")).arg(Arg::new("b").long("x").alias("protocol"));
        let (left, ignored) = split(&command, arguments.iter().map(Into::into).collect());
        let left = left.into_iter().map(|argument| argument.into_string().unwrap());
        (left.collect(), ignored.into_iter().map(|number| KNOWN[number].0).collect())
    }

    #[test]
    fn arguments_of_kserves_servers_go_with_their_values_and_others_stay() {
        let arguments = [
            "s",
            "--max-threads",
            "4",
            "--http-port",
            "1",
            "--event-loop=auto",
            "--enable-predictor-health-check",
            "--nonsense",
        ];
        let (left, ignored) = left_of(&arguments);
        assert_eq!(left, ["s", "--http-port", "1", "--nonsense"]);
        assert_eq!(ignored, ["max-threads", "event-loop", "enable-predictor-health-check"]);
    }

    #[test]
    fn what_a_server_knows_itself_is_its_own() {
        assert_eq!(left_of(&["s", "--protocol", "v1"]).0, ["s", "--protocol", "v1"]);
    }
}
