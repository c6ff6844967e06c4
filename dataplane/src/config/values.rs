//! How the values of settings are written.

use std::time::Duration;

/// An attribute's value, which has to fit into a header.
pub(super) fn attribute(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("expected printable ASCII without spaces".to_owned())
}

/// A name that every path can hold.
pub(super) fn model_name(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=253).contains(&text.len()) && text.bytes().all(valid) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 253 letters, digits, `-`, `_` or `.`".to_owned())
}

/// Reads a flag's truth value in the words that KServe's Python servers take.
///
/// # Errors
/// It is none of them.
pub fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Ok(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// Reads a duration: a number of seconds, or a number with `ms`, `s` or `m`.
///
/// # Errors
/// It is none, is negative, or is over a day.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 1.0)];
    let (number, scale) =
        units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale))).unwrap_or((text, &1.0));
    let seconds = number.trim().parse::<f64>().map(|number| number * scale);
    match seconds {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected a duration such as 500ms, 10s or 1m".to_owned()),
    }
}

/// Reads a duration that something is given to be done in, so more than none.
///
/// # Errors
/// As [`duration`], or it is 0.
pub fn timeout(text: &str) -> Result<Duration, String> {
    duration(text)
        .and_then(|timeout| if timeout.is_zero() { Err("expected more than 0".to_owned()) } else { Ok(timeout) })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::duration;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "-1s", "x", "1h", "NaN", "90000"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
