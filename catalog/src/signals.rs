//! What purchases say of articles beside the numbers of each: how they sell to an age group, and what goes with what.

use std::sync::OnceLock;

use arrow_array::{Float32Array, Int32Array};

use crate::{
    bundle::{BundleError, Manifest},
    mapped::Table,
};

const ALIKE: &str = "alike";
const ALIKENESS: &str = "alikeness";

/// What purchases say, by row of the article table.
pub struct Signals {
    /// `[articles, groups]`
    by_age_group: Float32Array,
    groups: usize,
    /// `[articles, width]`; a negative one is none.
    alike: Int32Array,
    /// `[articles, width]`
    alikeness: Float32Array,
    width: usize,
    /// Of each group all rows, what sells most first. Made where one is asked for: once some 8 ms for a hundred thousand articles.
    popular: Vec<OnceLock<Vec<u32>>>,
}

impl Signals {
    /// The column of how articles sell to each age group.
    pub const BY_AGE_GROUP: &'static str = "sold_by_age_group";

    /// Those of a table, if the manifest says what its age groups are.
    ///
    /// # Errors
    /// The table lacks a column, a row names no article, a share is no number, or the groups' bounds do not ascend.
    pub(crate) fn of(table: &Table<'_>, manifest: &Manifest) -> Result<Option<Self>, BundleError> {
        let Some(bounds) = &manifest.customers.age_groups else { return Ok(None) };
        if !table.has(Self::BY_AGE_GROUP) && manifest.retrieval.sources.is_none() {
            return Ok(None);
        }
        let groups = bounds.len() + 1;
        let by_age_group = table.vectors(Self::BY_AGE_GROUP, groups)?;
        if !bounds.is_sorted_by(|lower, upper| lower < upper) {
            return Err(table.invalid(Self::BY_AGE_GROUP, "the manifest's `customers.age_groups` do not ascend"));
        }
        if by_age_group.values().iter().any(|share| share.is_nan()) {
            return Err(table.invalid(Self::BY_AGE_GROUP, "has a share that is no number"));
        }
        let width = table.width(ALIKE)?.unwrap_or_default();
        let (alike, alikeness): (Int32Array, _) = (table.lists(ALIKE, width)?, table.vectors(ALIKENESS, width)?);
        let rows = table.rows();
        if alike.values().iter().any(|row| usize::try_from(*row).is_ok_and(|row| row >= rows)) {
            return Err(table.invalid(ALIKE, format!("names a row after the last of {rows}")));
        }
        let popular = (0..groups).map(|_| OnceLock::new()).collect();
        let signals = Self { by_age_group, groups, alike, alikeness, width, popular };
        if manifest.retrieval.sources.is_some() {
            for group in 0..groups {
                let _ = signals.popular(group); // every request will ask for one
            }
        }
        Ok(Some(signals))
    }

    /// How well an article sells to an age group: log of its share of the group's purchases of late.
    #[must_use]
    pub fn sold_to(&self, row: u32, age_group: usize) -> f32 {
        self.by_age_group.values()[row as usize * self.groups + age_group.min(self.groups - 1)]
    }

    /// All rows, what sells most to an age group first, ties by row.
    #[must_use]
    pub fn popular(&self, age_group: usize) -> &[u32] {
        let group = age_group.min(self.groups - 1);
        self.popular[group].get_or_init(|| best_first(&self.by_age_group.values()[group..], self.groups))
    }

    /// The rows of what those who bought an article bought too, best first, each with the cosine of the two articles' customers.
    pub fn alike(&self, row: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let of_row = row as usize * self.width..(row as usize + 1) * self.width;
        let rows = self.alike.values()[of_row.clone()].iter().map(|row| u32::try_from(*row).ok());
        let pairs = rows.zip(self.alikeness.values()[of_row].iter().copied());
        pairs.map_while(|(row, cosine)| Some((row?, cosine)))
    }
}

/// Rows by every `step`th share, the largest first, ties by row.
fn best_first(shares: &[f32], step: usize) -> Vec<u32> {
    let shares: Vec<f32> = shares.iter().copied().step_by(step).collect();
    let mut rows: Vec<u32> = (0..).take(shares.len()).collect();
    let share = |row: u32| shares[row as usize];
    rows.sort_unstable_by(|&a, &b| share(b).total_cmp(&share(a)).then(a.cmp(&b)));
    rows
}
