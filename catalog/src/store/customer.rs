//! What a store knows of a customer, made of what its tables say.

use std::{cmp::Reverse, collections::HashSet};

use crate::events::Kind;

/// The last touches that are told of a customer: as many as any model asks for.
pub const TOUCHES: usize = 50;

/// The last dismissed articles that are told of a customer.
pub(super) const DISMISSED: usize = 1_000;

const DAY: i64 = 24 * 60 * 60 * 1_000;

/// What the store knows of a customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Customer {
    /// Whether the store has a row for them.
    pub known: bool,
    /// In years, where it is known.
    pub age: Option<f32>,
    /// Ids of the articles that they purchased, each once: what they bought last first; of those bought at the same moment, by id.
    pub purchased: Vec<String>,
    /// What they clicked on and purchased last, [`TOUCHES`] at most, in the same order. Of one day, an article counts once a kind.
    pub touched: Vec<Touch>,
    /// Ids of the articles that they dismissed, each once, in the same order.
    pub dismissed: Vec<String>,
}

/// A customer clicked on an article, or bought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The article.
    pub article_id: String,
    /// [`Kind::Click`] or [`Kind::Purchase`].
    pub kind: Kind,
    /// In days since 1970-01-01, in UTC.
    pub day: i32,
}

/// An article and when something was done with it, in milliseconds since 1970-01-01.
pub(super) type Done = (i64, String);

impl Customer {
    /// Puts in what they did, each list in any order.
    pub(super) fn did(&mut self, mut purchases: Vec<Done>, clicks: Vec<Done>, mut dismissals: Vec<Done>) {
        newest_first(&mut purchases);
        newest_first(&mut dismissals);
        self.purchased = once(&purchases);
        self.dismissed = once(&dismissals);
        let of = |kind: Kind| move |(at, article_id): Done| (Reverse(at), article_id, kind);
        let mut touched: Vec<_> =
            purchases.into_iter().map(of(Kind::Purchase)).chain(clicks.into_iter().map(of(Kind::Click))).collect();
        touched.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        for (Reverse(at), article_id, kind) in touched {
            if self.touched.len() == TOUCHES {
                break;
            }
            let touch = Touch { article_id, kind, day: i32::try_from(at.div_euclid(DAY)).unwrap_or_default() };
            if !self.touched.contains(&touch) {
                self.touched.push(touch);
            }
        }
    }
}

fn newest_first(done: &mut [Done]) {
    done.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
}

fn once(done: &[Done]) -> Vec<String> {
    let mut seen = HashSet::with_capacity(done.len());
    done.iter().filter(|(_, id)| seen.insert(id.as_str())).map(|(_, id)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Customer, DAY, TOUCHES, Touch};
    use crate::events::Kind;

    fn done(all: &[(i64, &str)]) -> Vec<(i64, String)> {
        all.iter().map(|&(at, id)| (at, id.to_owned())).collect()
    }

    #[test]
    fn touches_are_newest_first_and_count_once_a_day_and_kind() {
        let mut customer = Customer::default();
        let (purchases, clicks) =
            ([(0, "b"), (3 * DAY, "a"), (3 * DAY + 9, "a"), (0, "a")], [(3 * DAY + 5, "a"), (-1, "c")]);
        customer.did(done(&purchases), done(&clicks), done(&[(1, "x"), (7, "y"), (8, "x")]));
        let touch = |article: &str, kind, day| Touch { article_id: article.to_owned(), kind, day };
        let expected = [
            touch("a", Kind::Purchase, 3),
            touch("a", Kind::Click, 3),
            touch("a", Kind::Purchase, 0),
            touch("b", Kind::Purchase, 0),
            touch("c", Kind::Click, -1),
        ];
        assert_eq!(customer.touched, expected);
        assert_eq!(
            (customer.purchased, customer.dismissed),
            (vec!["a".into(), "b".into()], vec!["x".into(), "y".into()])
        );
    }

    #[test]
    fn the_last_touches_are_told_and_all_purchases() {
        let mut customer = Customer::default();
        let ids: Vec<_> = (0..2 * TOUCHES).map(|i| (i64::try_from(i).unwrap(), format!("{i:04}"))).collect();
        customer.did(ids, Vec::new(), Vec::new());
        assert_eq!((customer.touched.len(), customer.purchased.len()), (TOUCHES, 2 * TOUCHES));
        assert_eq!(customer.touched[0].article_id, format!("{:04}", 2 * TOUCHES - 1));
    }
}
