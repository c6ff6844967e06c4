//! The models that a server serves, by name.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    error::{Error, Kind, Result},
    model::Model,
};

/// Models by name.
#[derive(Clone, Default)]
pub struct Repository(BTreeMap<String, Arc<dyn Model>>);

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Repository {
    /// Adds a model under the name in its metadata.
    #[must_use]
    pub fn with(mut self, model: Arc<dyn Model>) -> Self {
        self.0.insert(model.metadata().name.clone(), model);
        self
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Every model.
    pub fn models(&self) -> impl Iterator<Item = &Arc<dyn Model>> {
        self.0.values()
    }

    /// The model of this name, in this version if one is asked for.
    ///
    /// # Errors
    /// There is no such model or version.
    pub fn get(&self, name: &str, version: Option<&str>) -> Result<&Arc<dyn Model>> {
        let model = self.0.get(name).ok_or_else(|| Error::unknown_model(name))?;
        match version {
            Some(version) if !model.metadata().versions.iter().any(|known| known == version) => Err(Error::new(
                Kind::UnknownVersion,
                format!(
                    "Model with name {name} has no version {version}; it has {}.",
                    model.metadata().versions.join(", ")
                ),
            )),
            _ => Ok(model),
        }
    }
}
