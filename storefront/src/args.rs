//! Settings of the shop: flags, environment variables, their help, and how a wrong one ends a start: one clear line, exit 64.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches, Parser};
use jiff::civil::Date;

/// Exit code of a start that its settings or files made impossible (`EX_USAGE`).
const EXIT_CONFIG: u8 = 64;
/// Where Kubernetes looks for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Serves the shop: a web page of recommendations, over a transformer's public API
#[derive(Parser, Clone, Debug)]
#[command(name = "storefront", version, max_term_width = 100)]
pub(crate) struct Args {
    /// The transformer whose recommendations are shown: http://host:port or https://host:port
    #[arg(long, env = "HEMLINE_TRANSFORMER_URL", value_name = "URL")]
    pub(crate) transformer: String,

    /// Longest that the transformer may take for an answer, or for the next event of a stream; then 504
    #[arg(long, env = "HEMLINE_TRANSFORMER_TIMEOUT", default_value = "150s", value_parser = timeout)]
    pub(crate) transformer_timeout: Duration,

    /// Name of the transformer's model that recommends
    #[arg(long, env = "HEMLINE_MODEL_NAME", default_value = "hemline", value_parser = model_name)]
    pub(crate) model_name: String,

    /// Name of the transformer's model that finds articles by words
    #[arg(long, env = "HEMLINE_STYLIST_MODEL", default_value = "stylist", value_parser = model_name)]
    pub(crate) stylist_model: String,

    /// Folder with the page's files, as `npm run build` makes it
    #[arg(long, env = "HEMLINE_WEB", value_name = "DIR", default_value = "/usr/share/hemline/web")]
    pub(crate) web: PathBuf,

    /// Folder with the articles' pictures: `<first three digits>/<article id>.jpg`
    ///
    /// Without pictures the page draws tiles
    #[arg(long, env = "HEMLINE_IMAGES", value_name = "DIR", conflicts_with = "image_url")]
    pub(crate) images: Option<PathBuf>,

    /// Where browsers find the articles' pictures: a URL with {article_id}, and {prefix} for its first three digits
    #[arg(long, env = "HEMLINE_IMAGE_URL", value_name = "TEMPLATE")]
    pub(crate) image_url: Option<String>,

    /// The day that the shop takes for today, where the data end in the past: an ISO date
    #[arg(long, env = "HEMLINE_TODAY", value_name = "DATE", value_parser = date)]
    pub(crate) today: Option<Date>,

    /// Address to listen on
    #[arg(long, env = "HEMLINE_HOST", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub(crate) host: IpAddr,

    /// Port to listen on; 0 takes a free one
    #[arg(long, env = "HEMLINE_HTTP_PORT", default_value_t = 8090)]
    pub(crate) http_port: u16,

    /// On SIGTERM, time until the listener is closed, so that endpoints are withdrawn first
    #[arg(long, env = "HEMLINE_DRAIN_DELAY", default_value = "3s", value_parser = duration)]
    pub(crate) drain_delay: Duration,

    /// After the listener is closed, time for requests under way to end
    #[arg(long, env = "HEMLINE_DRAIN_TIMEOUT", default_value = "20s", value_parser = duration)]
    pub(crate) drain_timeout: Duration,

    /// What to log: error, warn, info, debug, trace, or target=level,…
    #[arg(long, env = "HEMLINE_LOG", default_value = "info")]
    pub(crate) log_level: String,
}

impl Args {
    /// Reads them from the command line and the environment, where an empty variable says nothing.
    ///
    /// # Errors
    /// A wrong setting: the exit code to end with. The message is printed. `--help` and `--version` end with success.
    pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ExitCode> {
        let mut command = Self::command().mut_args(|argument| {
            let empty = argument.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
            if empty { argument.env(None::<&'static str>) } else { argument }
        });
        let matches = command.try_get_matches_from_mut(arguments);
        let args = matches.and_then(|mut matches| Self::from_arg_matches_mut(&mut matches));
        args.map_err(|error| {
            if error.use_stderr() {
                return refuse(&one_line(&error.format(&mut command).render().to_string()));
            }
            let _ = error.print();
            ExitCode::SUCCESS
        })
    }
}

/// Ends a start that can't succeed: one line on stderr, and in Kubernetes' termination log. Returns the exit code for it.
pub(crate) fn refuse(reason: &str) -> ExitCode {
    let reason: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
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

/// A duration: a number of seconds, or a number with `ms`, `s` or `m`; at most a day.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)];
    let (number, scale) =
        units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale))).unwrap_or((text, &1.0));
    match number.trim().parse::<f64>().map(|number| number * scale) {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a duration such as 500ms, 10s or 1m".to_owned()),
    }
}

/// A duration that something is given to be done in, so more than none.
fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(timeout) }
}

/// A name that a path can hold.
fn model_name(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(valid) && text.bytes().any(|byte| byte != b'.') {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 253 letters, digits, `-`, `_` or `.`".to_owned())
}

fn date(text: &str) -> Result<Date, String> {
    // The parser also takes a date-time, whose time would be lost.
    let date = if text.len() == "2020-09-22".len() { text.parse().ok() } else { None };
    date.ok_or_else(|| "expected a date such as 2020-09-22".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{date, duration, model_name, timeout};

    #[test]
    fn durations_have_units_and_a_timeout_is_more_than_none() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("1m", 60_000), ("2", 2_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1s", "1h", "NaN", "90000"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(timeout("0").is_err());
    }

    #[test]
    fn a_day_is_a_date_and_a_name_fits_into_a_path() {
        assert!(date("2020-09-22").is_ok() && date("2020-02-30").is_err() && date("2020-09-22T10:00").is_err());
        assert!(model_name("hemline-2.x_y").is_ok());
        for wrong in ["", "a/b", "..", "a b", "é"] {
            assert!(model_name(wrong).is_err(), "{wrong}");
        }
    }
}
