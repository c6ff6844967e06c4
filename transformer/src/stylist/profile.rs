//! What the stylist is told of who asks: their age, and what they bought of late.

use catalog::{
    articles::Articles,
    bundle::CustomersInfo,
    events::Kind,
    store::{Customer, Touch},
};
use serde::{Deserialize, Serialize};

/// Most purchases that are told.
const PURCHASES: usize = 10;

/// The columns that purchases are told by, beside their names.
pub(super) const COLUMNS: [&str; 2] = [PRODUCT_TYPE, COLOUR];
const PRODUCT_TYPE: &str = "product_type_name";
const COLOUR: &str = "colour_group_name";

/// A customer, as a stylist sees them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// In years, where the store knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) age: Option<f32>,
    /// The years of their age group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) age_group: Option<String>,
    /// Newest first.
    pub(super) purchases: Vec<Purchase>,
}

/// An article that they bought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Purchase {
    article_id: String,
    name: String,
    product_type: String,
    colour: String,
    /// Whole days before the request's.
    days_ago: i32,
}

impl Profile {
    /// Of a customer whom the store knows so. What the catalogue does not have is passed over. `day` is the request's, in days since
    /// 1970-01-01.
    pub(super) fn of(customer: &Customer, articles: &Articles, info: &CustomersInfo, day: i32) -> Self {
        let [product_type, colour] = COLUMNS.map(|name| articles.attribute(name));
        let mut purchases: Vec<Purchase> = Vec::new();
        for Touch { article_id, day: at, .. } in customer.touched.iter().filter(|touch| touch.kind == Kind::Purchase) {
            let is_told = purchases.iter().any(|purchase| purchase.article_id == *article_id);
            let Some(row) = articles.row(article_id).filter(|_| !is_told) else { continue };
            purchases.push(Purchase {
                article_id: article_id.clone(),
                name: articles.prod_name(row).to_owned(),
                product_type: product_type.as_ref().map(|column| column(row).to_owned()).unwrap_or_default(),
                colour: colour.as_ref().map(|column| column(row).to_owned()).unwrap_or_default(),
                days_ago: day.saturating_sub(*at).max(0),
            });
            if purchases.len() == PURCHASES {
                break;
            }
        }
        let age = customer.age;
        Self { age, age_group: age.and_then(|age| info.age_group_label(age)), purchases }
    }

    /// The articles that they bought.
    pub(super) fn article_ids(&self) -> impl Iterator<Item = &str> {
        self.purchases.iter().map(|purchase| &*purchase.article_id)
    }

    /// What they bought, in words that can be searched for; nothing where that is not known.
    pub(super) fn in_words(&self) -> Option<String> {
        let words = self.purchases.iter().map(|Purchase { name, product_type, colour, .. }| {
            [colour.as_str(), name.as_str(), product_type.as_str()].join(" ").trim().to_owned()
        });
        let words = words.collect::<Vec<_>>().join(", ");
        (!words.is_empty()).then_some(words)
    }
}
