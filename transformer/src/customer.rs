//! Step 1: who asks. The store says their age and what they bought, as of now.

use catalog::{
    customers::Customers,
    store::{self, Touch},
};
use dataplane::{Error, Kind, Result};

use crate::{args::UnknownCustomer, instance::Instance};

/// A customer as the models see them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Customer {
    /// In years.
    pub(crate) age: f32,
    /// Row of their vector; nothing for one that training did not know.
    pub(crate) row: Option<usize>,
    /// Ids of the articles that they bought, each once, newest first.
    pub(crate) purchased: Vec<String>,
    /// What they clicked on and bought last, newest first.
    pub(crate) touched: Vec<Touch>,
    /// Ids of the articles that they do not want to see again.
    pub(crate) dismissed: Vec<String>,
}

/// How unknown customers and ages are dealt with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// For customers whom nobody knows.
    pub(crate) unknown: UnknownCustomer,
    /// The training median, in years.
    pub(crate) default_age: f32,
}

impl Policy {
    /// The customer who asks: with the store's age, else the request's, else the median.
    ///
    /// # Errors
    /// Nobody knows them, and that is to be refused. Where the store was not heard (`is_stale`), it may know them.
    pub(crate) fn apply(
        self,
        customers: &Customers,
        instance: &Instance,
        known: store::Customer,
        is_stale: bool,
    ) -> Result<Customer> {
        let row = customers.row(&instance.customer_id);
        if self.unknown == UnknownCustomer::Reject && row.is_none() && !known.known && !is_stale {
            return Err(Error::new(Kind::NotFound, "field `customer_id`: nobody knows this customer"));
        }
        let age = known.age.or(instance.age).unwrap_or(self.default_age);
        let store::Customer { purchased, touched, dismissed, .. } = known;
        Ok(Customer { age, row, purchased, touched, dismissed })
    }
}
