//! What changes while servers run: customers, what they bought and did.

use std::{str::FromStr, sync::Arc};

use async_trait::async_trait;

mod sqlite;

pub use sqlite::Sqlite;

/// What the store knows of a customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Customer {
    /// Whether the store has a row for them.
    pub known: bool,
    /// In years, where it is known.
    pub age: Option<f32>,
    /// Ids of the articles that they purchased, in the order asked for.
    pub purchased: Vec<String>,
}

/// The order of a customer's purchases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As the store has them at hand, an article once or several times.
    #[default]
    Any,
    /// What they bought last first, each article once; of those bought at the same moment, by id.
    NewestFirst,
}

/// Why a store can't answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has another schema than this server.
    #[error("--store: schema version {found}, this server needs {wanted}; run `hemline load` of the same release")]
    Schema {
        /// The store's.
        found: i64,
        /// The server's.
        wanted: i64,
    },
    /// The store can't be opened.
    #[error("--store: {0}")]
    Open(String),
    /// The store failed a question.
    #[error("store: {0}")]
    Query(#[from] sqlx::Error),
}

/// Customers and interactions. Every answer is as of now: what another process wrote before the question is in it.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What is known of this customer; of one who is not, only what they did. One round trip, whatever the order.
    async fn customer(&self, customer_id: &str, order: Order) -> Result<Customer, StoreError>;
}

/// Opens the store that a URL names.
///
/// # Errors
/// The URL names none, or the store can't be served from.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(Sqlite::open(&url.path).await?))
}

/// A store's URL: `sqlite://PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreUrl {
    path: std::path::PathBuf,
}

impl FromStr for StoreUrl {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        match url.strip_prefix("sqlite://") {
            Some(path) if !path.is_empty() => Ok(Self { path: path.into() }),
            _ => Err("expected sqlite://PATH".to_owned()),
        }
    }
}
