//! The models that a server serves: by name and version, loaded, swapped and unloaded while requests are under way.
//!
//! Readers take a snapshot and wait for nobody. A request keeps the model that it was given: one that is swapped out ends when the last
//! of its requests has.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;

use crate::{
    error::{Error, Kind, Result},
    model::{Model, ModelMetadata},
    snapshot::Snapshot,
    worker::caught,
};

mod turns;
mod watch;

use turns::Turns;
pub use watch::{fingerprint, watch};

/// Makes a model from where it lies. Called on a thread that may block.
pub trait Loader: Send + Sync + 'static {
    /// The model as it lies there now: checked, self-tested and warmed. Requests come to it as soon as this returns.
    ///
    /// # Errors
    /// It can't be used. The message may be read by whoever asked for it; paths belong into the detail.
    fn load(&self) -> Result<Arc<dyn Model>>;

    /// What tells one state of the place from another, cheaply; [`fingerprint`] is one. A watch loads anew when it changes; nothing is
    /// never new.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}

/// Whether a model answers, in the words of the repository extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// It answers.
    Ready,
    /// It is being loaded for the first time, or warms up.
    Loading,
    /// It does not answer; the reason says why.
    Unavailable,
}

impl State {
    /// The protocol's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Loading => "LOADING",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

/// A line of the repository's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IndexItem {
    /// The model's name.
    pub name: String,
    /// The version, where one is there.
    pub version: String,
    /// Whether it answers.
    pub state: State,
    /// Why it does not, or what went wrong when a newer one was loaded; empty where nothing is to be said.
    pub reason: String,
}

/// One name: the models that answer to it, and where they come from.
#[derive(Clone, Default)]
struct Entry {
    /// One for each version, the newest last.
    models: Vec<Arc<dyn Model>>,
    loader: Option<Arc<dyn Loader>>,
    turns: Arc<Turns>,
    reason: String,
    /// It was unloaded on purpose, and not loaded since.
    unloaded: bool,
    /// The fingerprint of what was loaded last, or tried.
    seen: Option<String>,
}

impl Entry {
    fn model(&self, version: Option<&str>) -> Option<&Arc<dyn Model>> {
        match version {
            None | Some("") => self.models.last(),
            Some(version) => {
                self.models.iter().find(|model| model.metadata().versions.iter().any(|known| known == version))
            }
        }
    }

    /// Whether a model should be there that is not, or is not ready.
    fn is_missing(&self) -> bool {
        !self.unloaded && (self.models.is_empty() || !self.models.iter().all(|model| model.is_ready()))
    }

    fn versions(&self) -> Vec<String> {
        self.models.iter().flat_map(|model| model.metadata().versions.iter().cloned()).collect()
    }

    fn index(&self, name: &str) -> Vec<IndexItem> {
        let item = |version: &str, state| IndexItem {
            name: name.to_owned(),
            version: version.to_owned(),
            state,
            reason: self.reason.clone(),
        };
        if self.models.is_empty() {
            let state = if self.reason.is_empty() { State::Loading } else { State::Unavailable };
            return vec![item("", state)];
        }
        let state = |model: &Arc<dyn Model>| if model.is_ready() { State::Ready } else { State::Loading };
        self.models.iter().map(|model| item(model.metadata().version().unwrap_or_default(), state(model))).collect()
    }
}

type Entries = BTreeMap<String, Entry>;

/// Models by name. Clones share them.
#[derive(Clone, Default)]
pub struct Repository(Arc<Snapshot<Entries>>);

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.load().keys()).finish()
    }
}

impl Repository {
    /// Serves a model under the name in its metadata, beside other versions of that name.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // it is kept; the map may be copied more than once before it is
    pub fn with(self, model: Arc<dyn Model>) -> Self {
        let name = model.metadata().name.clone();
        self.change(&name, |entry| entry.models.push(model.clone()));
        self
    }

    /// Serves what a loader makes, under this name: from the first [`Repository::load`] on, which [`watch`] sees to where nobody else did.
    #[must_use]
    #[allow(clippy::needless_pass_by_value)] // as above
    pub fn with_loader(self, name: &str, loader: Arc<dyn Loader>) -> Self {
        self.change(name, |entry| entry.loader = Some(loader.clone()));
        self
    }

    /// Serves what a loader makes, under this name, loaded here and now: what a server does before it takes requests.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn with_loaded(self, name: &str, loader: Arc<dyn Loader>) -> Result<Self> {
        let (seen, model) = made(loader.as_ref());
        let model = model?;
        let repository = self.with_loader(name, loader);
        repository.switch(name, model, seen);
        Ok(repository)
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.load().keys().cloned().collect()
    }

    /// Whether this name is one of those served here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.load().contains_key(name)
    }

    /// Names that should answer and do not: never loaded yet, whether or not that was tried, or warming up. What was unloaded on purpose
    /// is none of them.
    #[must_use]
    pub fn loading(&self) -> Vec<String> {
        let entries = self.0.load();
        let missing = entries.iter().filter(|(_, entry)| entry.is_missing());
        missing.map(|(name, _)| name.clone()).collect()
    }

    /// The model of this name, in this version if one is asked for.
    ///
    /// # Errors
    /// There is no such model or version, or nothing of it is loaded.
    pub fn get(&self, name: &str, version: Option<&str>) -> Result<Arc<dyn Model>> {
        find(&self.0.load(), name, version).map(|(_, model)| model.clone())
    }

    /// What the model of this name and version says of itself, with every version that answers to the name.
    ///
    /// # Errors
    /// As [`Repository::get`].
    pub fn metadata(&self, name: &str, version: Option<&str>) -> Result<ModelMetadata> {
        // One look for both: what comes between two would tell of two models in one answer.
        let entries = self.0.load();
        let (entry, model) = find(&entries, name, version)?;
        let mut metadata = model.metadata().clone();
        if entry.models.len() > 1 {
            metadata.versions = entry.versions();
        }
        Ok(metadata)
    }

    /// Every name and version, with its state.
    #[must_use]
    pub fn index(&self) -> Vec<IndexItem> {
        self.0.load().iter().flat_map(|(name, entry)| entry.index(name)).collect()
    }

    /// What is loaded now: every version of every name.
    #[must_use]
    pub fn loaded(&self) -> Vec<Arc<dyn Model>> {
        self.0.load().values().flat_map(|entry| entry.models.iter().cloned()).collect()
    }

    /// Loads a name anew beside what it has, and switches when the new one can answer. Requests under way end on the old one.
    ///
    /// # Errors
    /// The name is unknown, was not made to be loaded, or what lies there is unusable: then the old one serves on.
    pub async fn load(&self, name: &str) -> Result<()> {
        let (loader, turns) = self.loadable(name)?;
        let (repository, name, asked) = (self.clone(), name.to_owned(), turns.now());
        // By itself: whoever asked may leave before it is done. Their next call then waits for this one, and does not load beside it.
        let loading = tokio::spawn(async move { turns.load(asked, || repository.load_in_turn(&name, loader)).await });
        loading.await.unwrap_or_else(|panic| Err(Error::internal(panic)))
    }

    /// The loader of a name, and whose turn it is with it.
    fn loadable(&self, name: &str) -> Result<(Arc<dyn Loader>, Arc<Turns>)> {
        let entries = self.0.load();
        let entry = entries.get(name).ok_or_else(|| Error::unknown_model(name))?;
        let text = || format!("Model with name {name} was there from the start and can't be loaded anew.");
        let loader = entry.loader.clone().ok_or_else(|| Error::new(Kind::LoadFailed, text()))?;
        Ok((loader, entry.turns.clone()))
    }

    async fn load_in_turn(&self, name: &str, loader: Arc<dyn Loader>) -> Result<()> {
        let made = tokio::task::spawn_blocking(move || made(loader.as_ref())).await;
        let (seen, model) = made.unwrap_or_else(|panic| (None, Err(Error::internal(panic))));
        match model {
            Ok(model) => {
                tracing::info!(
                    model = name,
                    version = model.metadata().version(),
                    digest = model.metadata().digest(),
                    "loaded"
                );
                self.switch(name, model, seen);
                Ok(())
            }
            Err(error) => {
                tracing::error!(model = name, %error, "could not be loaded");
                self.refuse(name, error.message(), seen);
                let text = format!("Model with name {name} could not be loaded: {}", error.message());
                Err(Error::new(Kind::LoadFailed, text).with_detail(error.detail().unwrap_or_default()))
            }
        }
    }

    /// Stops serving a name. Requests under way end; [`Repository::load`] brings it back, and nothing else does.
    ///
    /// # Errors
    /// The name is unknown, or was not made to be loaded: nothing could bring it back.
    pub async fn unload(&self, name: &str) -> Result<()> {
        let (_, turns) = self.loadable(name)?;
        turns.unload(|| self.clear(name)).await;
        tracing::info!(model = name, "unloaded");
        Ok(())
    }

    /// Whether anything here can be loaded anew, so that it is worth watching.
    #[must_use]
    pub fn has_loaders(&self) -> bool {
        self.0.load().values().any(|entry| entry.loader.is_some())
    }

    /// Those that have a loader and were not unloaded on purpose, with the fingerprint of what was loaded last.
    fn watched(&self) -> Vec<(String, Arc<dyn Loader>, Option<String>)> {
        let entries = self.0.load();
        let watched = entries.iter().filter(|(_, entry)| !entry.unloaded);
        watched.filter_map(|(name, entry)| Some((name.clone(), entry.loader.clone()?, entry.seen.clone()))).collect()
    }

    /// The names that have never been loaded and can be.
    fn unborn(&self) -> Vec<String> {
        let entries = self.0.load();
        let unborn =
            entries.iter().filter(|(_, entry)| entry.loader.is_some() && entry.models.is_empty() && !entry.unloaded);
        unborn.map(|(name, _)| name.clone()).collect()
    }

    /// Serves this model under the name from now on, and no other.
    #[allow(clippy::needless_pass_by_value)] // as above
    fn switch(&self, name: &str, model: Arc<dyn Model>, seen: Option<String>) {
        self.change(name, |entry| {
            entry.models = vec![model.clone()];
            entry.reason.clear();
            entry.unloaded = false;
            entry.seen.clone_from(&seen);
        });
    }

    /// What served serves on; the index says why there is nothing newer.
    #[allow(clippy::needless_pass_by_value)] // as above
    fn refuse(&self, name: &str, reason: &str, seen: Option<String>) {
        self.change(name, |entry| {
            entry.reason = format!("the last load failed: {reason}");
            entry.seen.clone_from(&seen);
        });
    }

    fn clear(&self, name: &str) {
        self.change(name, |entry| {
            entry.models.clear();
            entry.reason = "unloaded".to_owned();
            entry.unloaded = true;
        });
    }

    fn change(&self, name: &str, change: impl Fn(&mut Entry)) {
        self.0.change(|entries| {
            let mut entries = entries.clone();
            change(entries.entry(name.to_owned()).or_default());
            entries
        });
    }
}

/// What a loader makes, and the fingerprint of what it made it from: taken first, so that what is exchanged meanwhile is noticed, and kept
/// where the loader panics, so that it does not panic again before something has changed.
fn made(loader: &dyn Loader) -> (Option<String>, Result<Arc<dyn Model>>) {
    (loader.fingerprint(), caught(|| loader.load()).flatten())
}

/// The model of this name and version, with what else answers to the name.
fn find<'a>(entries: &'a Entries, name: &str, version: Option<&str>) -> Result<(&'a Entry, &'a Arc<dyn Model>)> {
    let entry = entries.get(name).ok_or_else(|| Error::unknown_model(name))?;
    if entry.models.is_empty() {
        return Err(Error::not_ready(name));
    }
    let model = entry.model(version).ok_or_else(|| unknown_version(name, version, &entry.versions()))?;
    Ok((entry, model))
}

fn unknown_version(name: &str, version: Option<&str>, known: &[String]) -> Error {
    let version = version.unwrap_or_default();
    let text = format!("Model with name {name} has no version {version}; it has {}.", known.join(", "));
    Error::new(Kind::UnknownVersion, text)
}

#[cfg(all(test, hemline_loom))]
mod loom;
#[cfg(test)]
mod tests;
