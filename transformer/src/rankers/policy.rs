//! Which ranker answers whom: four lines, from flags or from a ConfigMap, and how they choose.

use std::{collections::BTreeSet, fmt, str::FromStr};

use sha2::{Digest, Sha256};

/// The lines as they are written; each is `None` where nobody wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    pub(crate) active: Option<String>,
    pub(crate) by_history: Option<String>,
    pub(crate) shadow: Option<String>,
    pub(crate) fallback: Option<String>,
}

/// The lines by the names that a ConfigMap gives them, each with the flag that says the same.
pub(crate) const KEYS: [(&str, &str); 4] = [
    ("active", "--active-ranker"),
    ("by-history", "--ranker-by-history"),
    ("shadow", "--shadow-ranker"),
    ("fallback", "--fallback-rankers"),
];

/// Which ranker answers whom.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    /// Who ranks for those whom no other line concerns: one, or several with their shares.
    active: Shares,
    /// Customers with fewer purchases than this go to that ranker; the first that holds.
    by_history: Vec<(String, usize)>,
    /// Asked beside the one that answers, for this part of the requests, 0 to 1.
    shadow: Vec<(String, f64)>,
    /// Asked in this order where the chosen one fails.
    fallback: Vec<String>,
}

/// Why a ranker was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChosenBy {
    /// The request names it.
    Request,
    /// The customer's history is short.
    History,
    /// It is the active one, or the customer is in its share.
    Active,
    /// The one that was chosen failed.
    Fallback,
}

impl ChosenBy {
    /// As metrics say it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::History => "history",
            Self::Active => "active",
            Self::Fallback => "fallback",
        }
    }
}

/// Names with their parts of the whole, in the order written.
#[derive(Clone, Debug, PartialEq)]
struct Shares(Vec<(String, f64)>);

impl Lines {
    /// These lines, and those of `others` where these say nothing.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            active: self.active.or_else(|| others.active.clone()),
            by_history: self.by_history.or_else(|| others.by_history.clone()),
            shadow: self.shadow.or_else(|| others.shadow.clone()),
            fallback: self.fallback.or_else(|| others.fallback.clone()),
        }
    }

    /// The line of a key of [`KEYS`].
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Option<String>> {
        match key {
            "active" => Some(&mut self.active),
            "by-history" => Some(&mut self.by_history),
            "shadow" => Some(&mut self.shadow),
            "fallback" => Some(&mut self.fallback),
            _ => None,
        }
    }
}

impl Policy {
    /// What the lines say; `default` is the active ranker where they do not.
    ///
    /// # Errors
    /// The key of the line that is wrong, and what was expected of it.
    pub(crate) fn read(lines: &Lines, default: &str) -> Result<Self, (&'static str, String)> {
        let [active, by_history, shadow, fallback] = KEYS.map(|(key, _)| key);
        let text = |line: &Option<String>| line.as_deref().unwrap_or_default().trim().to_owned();
        let shares = match text(&lines.active) {
            text if text.is_empty() => Ok(Shares(vec![(default.to_owned(), 1.0)])),
            text => text.parse(),
        };
        Ok(Self {
            active: shares.map_err(|reason| (active, reason))?,
            by_history: each(&text(&lines.by_history), read_limit).map_err(|reason| (by_history, reason))?,
            shadow: each(&text(&lines.shadow), read_percent).map_err(|reason| (shadow, reason))?,
            fallback: each(&text(&lines.fallback), read_name).map_err(|reason| (fallback, reason))?,
        })
    }

    /// Who ranks for a customer whom the request gives no ranker. `purchases` is how many are known; nothing where nobody could be asked.
    ///
    /// The same customer has the same answer for as long as the shares are the same; where they change, as few as can be change sides.
    pub(crate) fn choose(&self, customer_id: &str, purchases: Option<usize>) -> (&str, ChosenBy) {
        let is_short = |limit: usize| purchases.is_some_and(|purchases| purchases < limit);
        match self.by_history.iter().find(|(_, limit)| is_short(*limit)) {
            Some((name, _)) => (name, ChosenBy::History),
            None => (self.active.at(position(customer_id)), ChosenBy::Active),
        }
    }

    /// The active ranker; of several the one with the largest share, the first of equals.
    pub(crate) fn active(&self) -> &str {
        let larger = |a: &'_ (String, f64), b: &'_ (String, f64)| b.1 > a.1;
        let largest = self.active.0.iter().reduce(|a, b| if larger(a, b) { b } else { a });
        largest.map_or("", |(name, _)| name)
    }

    /// The part of the customers whom no other line concerns for whom this one ranks, 0 to 1.
    pub(crate) fn share(&self, name: &str) -> f64 {
        // Not `sum`, which of nothing is -0.0.
        self.active.0.iter().filter(|(active, _)| active == name).fold(0.0, |sum, (_, share)| sum + share)
    }

    /// Who is asked where these have failed, in this order.
    pub(crate) fn fallback<'a>(&'a self, chosen: &'a str) -> impl Iterator<Item = &'a str> {
        self.fallback.iter().map(String::as_str).filter(move |name| *name != chosen)
    }

    /// Who is asked beside the one that `answered`, this time.
    pub(crate) fn shadows<'a>(&'a self, answered: &'a str) -> impl Iterator<Item = &'a str> {
        let asked = self.shadow.iter().filter(move |(name, share)| name != answered && fastrand::f64() < *share);
        asked.map(|(name, _)| name.as_str())
    }

    /// The rankers whose scores may be served without a request that names them. While one of them is there, there are answers.
    pub(crate) fn serving(&self) -> BTreeSet<&str> {
        let active = self.active.0.iter().filter(|(_, share)| *share > 0.0).map(|(name, _)| name);
        active.chain(&self.fallback).map(String::as_str).collect()
    }

    /// All rankers that it names, each with the key of a line that does.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let [active, by_history, shadow, fallback] = KEYS.map(|(key, _)| key);
        let actives = self.active.0.iter().map(move |(name, _)| (active, name.as_str()));
        let short = self.by_history.iter().map(move |(name, _)| (by_history, name.as_str()));
        let shadows = self.shadow.iter().map(move |(name, _)| (shadow, name.as_str()));
        actives.chain(short).chain(shadows).chain(self.fallback.iter().map(move |name| (fallback, name.as_str())))
    }
}

/// As a line of a log has it: the keys that say something, with shares in percent.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percents = |shares: &[(String, f64)]| {
            let each = shares.iter().map(|(name, share)| format!("{name}={:.1}%", share * 100.0));
            each.collect::<Vec<_>>().join(",")
        };
        let limits = self.by_history.iter().map(|(name, limit)| format!("{name}<{limit}")).collect::<Vec<_>>();
        let [active, by_history, shadow, fallback] = KEYS.map(|(key, _)| key);
        let lines = [
            (active, percents(&self.active.0)),
            (by_history, limits.join(",")),
            (shadow, percents(&self.shadow)),
            (fallback, self.fallback.join(",")),
        ];
        let said = lines.iter().filter(|(_, line)| !line.is_empty()).map(|(key, line)| format!("{key}: {line}"));
        f.write_str(&said.collect::<Vec<_>>().join("; "))
    }
}

impl Shares {
    /// Who has this position between 0 and 1.
    fn at(&self, position: f64) -> &str {
        let (mut found, mut end) = ("", 0.0);
        for (name, share) in self.0.iter().filter(|(_, share)| *share > 0.0) {
            found = name;
            end += share;
            if position < end {
                break;
            }
        }
        found // sums of shares may end a little before 1
    }
}

impl FromStr for Shares {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('=') {
            return match each(text, read_name)?.as_slice() {
                [name] => Ok(Self(vec![(name.clone(), 1.0)])),
                _ => Err(format!("expected NAME or NAME=WEIGHT,NAME=WEIGHT, got `{text}`")),
            };
        }
        let weights = each(text, read_weight)?;
        let whole: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if whole <= 0.0 || !whole.is_finite() {
            return Err(format!("expected a weight above 0, got `{text}`"));
        }
        Ok(Self(weights.into_iter().map(|(name, weight)| (name, weight / whole)).collect()))
    }
}

/// Where a customer stands between 0 and 1: the same in every process and every release.
fn position(customer_id: &str) -> f64 {
    let digest = Sha256::digest(customer_id.as_bytes());
    let first = digest.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    f64::from(first) / (f64::from(u32::MAX) + 1.0)
}

/// Items with commas between them, none for an empty text; of no ranker two.
fn each<T: Named>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items = text.split(',').map(|item| read(item.trim())).collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    match items.iter().find(|item| !names.insert(item.name())) {
        Some(twice) => Err(format!("`{}` stands there twice", twice.name())),
        None => Ok(items),
    }
}

trait Named {
    fn name(&self) -> &str;
}

impl Named for String {
    fn name(&self) -> &str {
        self
    }
}

impl<T> Named for (String, T) {
    fn name(&self) -> &str {
        &self.0
    }
}

fn read_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(['=', '<']) {
        return Err(format!("expected a ranker's name, got `{text}`"));
    }
    Ok(text.to_owned())
}

fn read_weight(text: &str) -> Result<(String, f64), String> {
    let read = || {
        let (name, weight) = text.split_once('=')?;
        let weight = weight.trim().parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0)?;
        Some((read_name(name.trim()).ok()?, weight))
    };
    read().ok_or_else(|| format!("expected NAME=WEIGHT with a number from 0, got `{text}`"))
}

fn read_percent(text: &str) -> Result<(String, f64), String> {
    if !text.contains('=') {
        return Ok((read_name(text)?, 1.0));
    }
    let (name, percent) = read_weight(text)
        .ok()
        .filter(|(_, percent)| *percent <= 100.0)
        .ok_or_else(|| format!("expected NAME or NAME=PERCENT from 0 to 100, got `{text}`"))?;
    Ok((name, percent / 100.0))
}

fn read_limit(text: &str) -> Result<(String, usize), String> {
    let read = || {
        let (name, limit) = text.split_once('<')?;
        Some((read_name(name.trim()).ok()?, limit.trim().parse().ok()?))
    };
    read().ok_or_else(|| format!("expected NAME<PURCHASES, got `{text}`"))
}

#[cfg(test)]
mod tests;
