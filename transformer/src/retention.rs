//! How long interactions are kept: a task deletes what is older, a few at a time, by whichever server gets to it first.

use std::{str::FromStr, time::Duration};

use catalog::{events::Kind, store::Store};
use jiff::Timestamp;

/// Time between two sweeps.
const SWEEP: Duration = Duration::from_secs(600);
/// Most rows of one transaction: a longer one would hold up those who write.
const AT_ONCE: u32 = 5_000;
/// Time between two transactions of one sweep.
const PAUSE: Duration = Duration::from_millis(100);

/// How long interactions of a kind are kept: `KIND=DURATION`, as `shown=30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    kind: Kind,
    age: Duration,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, age) = text.trim().split_once('=').ok_or("expected KIND=DURATION, as shown=30d")?;
        let kind = Kind::named(kind).ok_or("expected shown, click, purchase or dismiss before the `=`")?;
        let hours = match (age.strip_suffix('d'), age.strip_suffix('h')) {
            (Some(days), _) => days.parse::<u32>().ok().and_then(|days| days.checked_mul(24)),
            (_, Some(hours)) => hours.parse().ok(),
            _ => None,
        };
        let hours = hours.filter(|hours| (1..=24 * 36_500).contains(hours));
        let hours = hours.ok_or("expected days or hours after the `=`, as 30d or 12h")?;
        Ok(Self { kind, age: Duration::from_secs(u64::from(hours) * 3600) })
    }
}

/// Deletes what is older than it may be, for as long as it is polled. Nothing to do without rules.
pub(crate) async fn keep(rules: &[Retention], store: &dyn Store) {
    if rules.is_empty() {
        return;
    }
    loop {
        for rule in rules {
            sweep(rule, store).await;
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn sweep(rule: &Retention, store: &dyn Store) {
    let Ok(before) = Timestamp::now().checked_sub(rule.age) else { return };
    let mut deleted = 0;
    loop {
        match store.expire(rule.kind, before, AT_ONCE).await {
            Ok(0) => break,
            Ok(count) => deleted += count,
            Err(error) => {
                tracing::warn!(%error, kind = rule.kind.name(), "interactions that have expired could not be deleted");
                return;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if deleted > 0 {
        tracing::info!(kind = rule.kind.name(), deleted, "deleted interactions that have expired");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use catalog::events::Kind;

    use super::Retention;

    #[test]
    fn a_rule_names_a_kind_and_an_age() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (text, kind, age) in [
            ("shown=30d", Kind::Shown, hours(720)),
            (" click=12h", Kind::Click, hours(12)),
            ("purchase=3650d", Kind::Purchase, hours(87_600)),
        ] {
            assert_eq!(text.parse(), Ok(Retention { kind, age }), "{text}");
        }
        for wrong in
            ["", "shown", "shown=", "shown=30", "shown=0d", "shown=-1d", "stare=1d", "shown=99999999999d", "shown=1.5d"]
        {
            assert!(wrong.parse::<Retention>().is_err(), "{wrong}");
        }
    }
}
