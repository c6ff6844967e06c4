//! Step 1: who asks. The store says their age and what they bought, as of now.

use catalog::{
    customers::Customers,
    store::{Order, Store, StoreError},
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
    /// Ids of the articles that they bought, in the order asked for.
    pub(crate) purchased: Vec<String>,
}

/// How unknown customers and ages are dealt with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// For customers whom nobody knows.
    pub(crate) unknown: UnknownCustomer,
    /// The training median, in years.
    pub(crate) default_age: f32,
}

/// Looks the customer up, with their purchases in this order: the store's age, else the request's, else the median.
pub(crate) async fn look_up(
    store: &dyn Store,
    customers: &Customers,
    policy: Policy,
    instance: &Instance,
    order: Order,
) -> Result<Customer> {
    let known = store.customer(&instance.customer_id, order).await.map_err(|error| unavailable(&error))?;
    let row = customers.row(&instance.customer_id);
    if policy.unknown == UnknownCustomer::Reject && row.is_none() && !known.known {
        return Err(Error::new(Kind::NotFound, "field `customer_id`: nobody knows this customer"));
    }
    let age = known.age.or(instance.age).unwrap_or(policy.default_age);
    Ok(Customer { age, row, purchased: known.purchased })
}

fn unavailable(error: &StoreError) -> Error {
    Error::new(Kind::UpstreamUnavailable, "the customer store can't be read").with_detail(error)
}
