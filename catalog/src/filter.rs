//! Conditions on articles: which of them may be in an answer, as a set of rows.
//!
//! A [`Filter`] is what is asked for; [`Articles::matching`] evaluates it over the table. Texts are compared once for each value of
//! a column's dictionary, so that a row is the look-up of its code.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::{
    DictionaryArray, Float32Array, StringArray,
    cast::AsArray,
    types::{Float32Type, Int32Type},
};
use serde::Serialize;

use crate::{
    articles::{ARTICLE_ID, Articles},
    bundle::BundleError,
    mapped::Table,
    rows::Rows,
};

/// Columns that are texts of their own in each row and can be filtered all the same.
const TEXTS: [&str; 2] = ["prod_name", "product_code"];

/// A condition for each of some columns; all must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Filter(BTreeMap<String, Condition>);

/// What must hold of a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Condition {
    /// Of texts.
    Texts(Texts),
    /// Of numbers.
    Range(Range),
}

/// Texts that match, byte for byte. A text that no article has matches none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Texts {
    /// Only these, where they are given.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub any_of: Option<BTreeSet<String>>,
    /// And none of these.
    #[serde(rename = "not_in", skip_serializing_if = "BTreeSet::is_empty")]
    pub none_of: BTreeSet<String>,
}

/// Numbers that match: within every bound that is given, which are finite. NaN is in no range.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Range {
    /// At least this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gte: Option<f32>,
    /// More than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gt: Option<f32>,
    /// At most this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lte: Option<f32>,
    /// Less than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lt: Option<f32>,
}

/// What a column can be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Condition::Texts`]
    Text,
    /// [`Condition::Range`]
    Number,
}

/// The articles that a filter lets pass.
#[derive(Clone, Debug)]
pub struct Matching {
    /// Their rows.
    pub rows: Rows,
    /// The column whose condition alone leaves the fewest, and how many; nothing for a filter without conditions.
    pub narrowest: Option<(String, usize)>,
}

/// A filter over a column that the table does not have, or of another kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("column `{0}` can't be filtered so")]
pub struct FilterError(String);

impl Filter {
    /// The filter in one form for all that ask for the same: JSON with columns and values sorted.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl FromIterator<(String, Condition)> for Filter {
    fn from_iter<T: IntoIterator<Item = (String, Condition)>>(conditions: T) -> Self {
        Self(conditions.into_iter().collect())
    }
}

impl Texts {
    fn allow(&self, text: &str) -> bool {
        self.any_of.as_ref().is_none_or(|texts| texts.contains(text)) && !self.none_of.contains(text)
    }
}

impl Range {
    fn allows(&self, number: f32) -> bool {
        self.gte.is_none_or(|bound| number >= bound)
            && self.gt.is_none_or(|bound| number > bound)
            && self.lte.is_none_or(|bound| number <= bound)
            && self.lt.is_none_or(|bound| number < bound)
            && !number.is_nan()
    }
}

/// A column as a filter reads it.
pub(crate) enum Column {
    /// The ids, which are found without looking at each.
    Ids,
    Texts(StringArray),
    Dictionary(DictionaryArray<Int32Type>),
    Numbers(Float32Array),
}

impl Column {
    /// The columns of a table that can be filtered, in its order.
    pub(crate) fn all(table: &Table<'_>) -> Result<Vec<(String, Self)>, BundleError> {
        let named = |name: String| Ok(Self::of(table, &name)?.map(|column| (name, column)));
        table.names().into_iter().map(named).filter_map(Result::transpose).collect()
    }

    fn of(table: &Table<'_>, name: &str) -> Result<Option<Self>, BundleError> {
        let column = table.column(name)?;
        Ok(if name == ARTICLE_ID {
            Some(Self::Ids)
        } else if let Some(texts) = column.as_string_opt().filter(|_| TEXTS.contains(&name)) {
            Some(Self::Texts(texts.clone()))
        } else if let Some(numbers) = column.as_primitive_opt::<Float32Type>() {
            Some(Self::Numbers(numbers.clone()))
        } else {
            let column = column.as_dictionary_opt().filter(|column| column.values().as_string_opt::<i32>().is_some());
            column.cloned().map(Self::Dictionary)
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        if matches!(self, Self::Numbers(_)) { Kind::Number } else { Kind::Text }
    }

    /// The rows for which a condition holds; nothing where it is of another kind.
    fn matching(&self, articles: &Articles, condition: &Condition) -> Option<Rows> {
        let len = articles.len();
        Some(match (self, condition) {
            (Self::Ids, Condition::Texts(texts)) => {
                let rows = |ids: &BTreeSet<String>| Rows::of(ids.iter().filter_map(|id| articles.row(id)), len);
                let mut matching = texts.any_of.as_ref().map_or_else(|| Rows::all(len), rows);
                matching.subtract(&rows(&texts.none_of));
                matching
            }
            (Self::Texts(column), Condition::Texts(texts)) => Rows::matching(len, |row| texts.allow(column.value(row))),
            (Self::Dictionary(column), Condition::Texts(texts)) => {
                let values = column.values().as_string::<i32>();
                let allowed: Vec<bool> =
                    values.iter().map(|value| value.is_some_and(|value| texts.allow(value))).collect();
                let codes = column.keys().values();
                let is_allowed = |code: i32| usize::try_from(code).ok().and_then(|code| allowed.get(code)).copied();
                Rows::matching(len, |row| is_allowed(codes[row]).unwrap_or_default())
            }
            (Self::Numbers(column), Condition::Range(range)) => {
                let numbers = column.values();
                Rows::matching(len, |row| range.allows(numbers[row]))
            }
            _ => return None,
        })
    }
}

impl Articles {
    /// Which columns of a filter let one row pass; none that [`Articles::matching`] refuses.
    #[must_use]
    pub fn verdicts(&self, filter: &Filter, row: u32) -> Vec<(String, bool)> {
        let holds = |(name, condition): (&String, &Condition)| {
            let matching = self.column(name)?.matching(self, condition)?;
            Some((name.clone(), matching.contains(row)))
        };
        filter.0.iter().filter_map(holds).collect()
    }

    /// Evaluates a filter over all rows.
    ///
    /// # Errors
    /// It names a column that [`Articles::columns`] does not have, or has as another kind.
    pub fn matching(&self, filter: &Filter) -> Result<Matching, FilterError> {
        let (mut rows, mut narrowest) = (Rows::all(self.len()), None::<(String, usize)>);
        for (name, condition) in &filter.0 {
            let matching = self.column(name).and_then(|column| column.matching(self, condition));
            let matching = matching.ok_or_else(|| FilterError(name.clone()))?;
            if narrowest.as_ref().is_none_or(|(_, fewest)| matching.count() < *fewest) {
                narrowest = Some((name.clone(), matching.count()));
            }
            rows.intersect(&matching);
        }
        Ok(Matching { rows, narrowest })
    }
}
