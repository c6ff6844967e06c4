//! What every request needs: the transformer, the page's files, and where pictures are.

use std::sync::Arc;

use crate::{args::Args, images::Images, upstream::Upstream, web::Web};

/// The shop. Shared by all requests.
pub(crate) struct Shop {
    pub(crate) upstream: Upstream,
    pub(crate) web: Web,
    pub(crate) images: Images,
    /// The transformer's model that recommends.
    pub(crate) model: String,
    /// Its model that finds articles by words.
    pub(crate) stylist: String,
    /// What is today where the data end in the past (ISO).
    pub(crate) today: Option<String>,
}

impl Shop {
    /// As `args` say, its files read.
    ///
    /// # Errors
    /// A setting is wrong, or a file is missing: one line that names the flag.
    pub(crate) fn new(args: &Args) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            upstream: Upstream::new(&args.transformer, args.transformer_timeout)
                .map_err(|reason| format!("--transformer: {reason}"))?,
            web: Web::read(&args.web).map_err(|reason| format!("--web: {reason}"))?,
            images: Images::new(args.images.clone(), args.image_url.as_deref())?,
            model: args.model_name.clone(),
            stylist: args.stylist_model.clone(),
            today: args.today.map(|day| day.to_string()),
        }))
    }
}
