//! What customers and visitors do.

use jiff::Timestamp;

/// One thing that somebody did with one article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id, unique among those of its source: told twice, it counts once.
    pub event_id: String,
    /// Who made the id; may be empty.
    pub source: String,
    /// Who did it: a customer's or a visitor's id.
    pub customer_id: String,
    /// Whether that is a visitor's.
    pub visitor: bool,
    /// What they did.
    pub kind: Kind,
    /// With which article.
    pub article_id: String,
    /// The list that the article was in.
    pub list_id: Option<String>,
    /// When.
    pub occurred_at: Timestamp,
}

/// What can be done with an article.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// It was in a list that they saw.
    Shown,
    /// They looked at it.
    Click,
    /// They bought it.
    Purchase,
    /// They do not want to see it.
    Dismiss,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Shown, Self::Click, Self::Purchase, Self::Dismiss];

    /// The word for it, in stores and on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Click => "click",
            Self::Purchase => "purchase",
            Self::Dismiss => "dismiss",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
