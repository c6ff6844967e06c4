//! Arguments as KServe writes and adds them, and those that its own servers take and this one may have no use for. Whoever swaps an
//! image keeps them: they are passed over, and told of when there is a log.

use std::{collections::BTreeSet, ffi::OsString, iter::Peekable, sync::OnceLock};

use clap::{Arg, Command};

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

/// The arguments as `command` reads them: with hyphens, without what KServe added to what the user had said, and without those of its
/// servers that mean nothing here, which [`warn`] tells of.
pub(super) fn arguments(command: &Command, arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (left, ignored) = split(command, users(command, arguments.into_iter().collect()));
    let _ = IGNORED.set(ignored);
    left
}

/// Tells of what was passed over.
pub(crate) fn warn() {
    for (argument, instead) in IGNORED.get().into_iter().flatten().map(|&number| KNOWN[number]) {
        tracing::warn!(argument = format!("--{argument}"), instead, "an argument of KServe's servers, passed over");
    }
}

/// A flag as it was written.
struct Flag {
    /// Its name with hyphens.
    name: String,
    underscored: bool,
    has_value: bool,
}

impl Flag {
    fn of(argument: &OsString) -> Option<Self> {
        let text = argument.to_str()?.strip_prefix("--")?;
        let name = text.split('=').next().unwrap_or(text);
        let (underscored, has_value) = (name.contains('_'), name.len() < text.len());
        Some(Self { name: name.replace('_', "-"), underscored, has_value })
    }
}

/// Every name that a flag of the command has.
fn names(argument: &Arg) -> impl Iterator<Item = &str> {
    argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default())
}

/// Passes over the value of a flag that is passed over: what follows, unless it is a flag itself.
fn pass_over_value(flag: &Flag, arguments: &mut Peekable<impl Iterator<Item = OsString>>) {
    if !flag.has_value {
        arguments.next_if(|next| !next.to_string_lossy().starts_with("--"));
    }
}

/// To a transformer's arguments KServe adds `--predictor_host`, `--http_port` and others, where it finds none that begins just so. One
/// that the user wrote with hyphens it does not find, so where a flag came both ways, the one with hyphens is the user's.
fn users(command: &Command, arguments: Vec<OsString>) -> Vec<OsString> {
    let id =
        |flag: &Flag| command.get_arguments().find(|own| names(own).any(|name| name == flag.name)).map(Arg::get_id);
    let hyphened = arguments.iter().filter_map(Flag::of).filter(|flag| !flag.underscored);
    let said: BTreeSet<_> = hyphened.filter_map(|flag| id(&flag)).collect();
    let mut left = Vec::new();
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        match Flag::of(&argument) {
            Some(flag) if flag.underscored && id(&flag).is_some_and(|id| said.contains(id)) => {
                pass_over_value(&flag, &mut arguments);
            }
            Some(flag) => left.push(hyphens(&argument, &flag)),
            None => left.push(argument),
        }
    }
    left
}

fn hyphens(argument: &OsString, flag: &Flag) -> OsString {
    let value = argument.to_str().and_then(|text| text.split_once('='));
    value.map_or_else(|| format!("--{}", flag.name), |(_, value)| format!("--{}={value}", flag.name)).into()
}

fn split(command: &Command, arguments: Vec<OsString>) -> (Vec<OsString>, Vec<usize>) {
    let own: BTreeSet<_> = command.get_arguments().flat_map(names).collect();
    let unused = |argument: &OsString| {
        let flag = Flag::of(argument)?;
        let known = KNOWN.iter().position(|(known, _)| *known == flag.name && !own.contains(flag.name.as_str()))?;
        Some((known, flag))
    };
    let (mut left, mut ignored) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter().peekable();
    while let Some(argument) = arguments.next() {
        match unused(&argument) {
            Some((known, flag)) => {
                ignored.push(known);
                pass_over_value(&flag, &mut arguments);
            }
            None => left.push(argument),
        }
    }
    (left, ignored)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::{KNOWN, split, users};

    fn command() -> Command {
        Command::new("c").arg(Arg::new("a").long("http-port")).arg(Arg::new("b").long("x-y").alias("protocol"))
    }

    fn left_of(arguments: &[&str]) -> (Vec<String>, Vec<&'static str>) {
        let (left, ignored) = split(&command(), arguments.iter().map(Into::into).collect());
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

    #[test]
    fn a_flag_that_came_both_ways_is_the_users_whatever_name_it_has() {
        for (arguments, left) in [
            (vec!["s", "--http-port=1", "--http_port", "2", "--x_y", "3"], vec!["s", "--http-port=1", "--x-y", "3"]),
            (
                vec!["s", "--x_y=a_b", "--http_port", "2", "--protocol", "v_1"],
                vec!["s", "--http-port", "2", "--protocol", "v_1"],
            ),
            (vec!["s", "--x_y=a_b=c", "--http_port", "2"], vec!["s", "--x-y=a_b=c", "--http-port", "2"]),
            (vec!["s", "--http_port", "--http-port", "1"], vec!["s", "--http-port", "1"]),
        ] {
            assert_eq!(users(&command(), arguments.iter().map(Into::into).collect()), left, "{arguments:?}");
        }
    }
}
