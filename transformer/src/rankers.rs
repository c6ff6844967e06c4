//! The rankers that requests are answered by. What is known of them is a [`directory`], from flags or from the [`cluster`]; a bundle's
//! [`table`] of them follows it. Each has its connections, circuit, plan and readiness for itself; a [`policy`] says which one answers
//! whom, and the [`shadow`]s are asked beside it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::bundle::{Bundle, Feature, MANIFEST};
use dataplane::{
    Datatype, ModelMetadata, TensorMetadata,
    client::{Predictor, Settings},
    metrics::Metrics,
    v1::RowsCodec,
};

use crate::{
    args::Args,
    features::{ARTICLE_ID, Numbers, defined},
    neighbours::Retrieval,
    rank::{ARTICLE_IDS, Ranker, ScoreOutput},
    start::AbortOnDrop,
};

pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod policy;
mod setting;
pub(crate) mod shadow;
mod table;

use directory::{Directory, Known};
pub(crate) use setting::{LONGEST_NAME, RankerSetting};
pub(crate) use table::{Dependencies, Table};

/// The rankers of a bundle, as they are now.
pub(crate) struct Rankers {
    table: ArcSwap<Table>,
    maker: Maker,
}

/// A ranker that is looked after.
struct Kept {
    setting: RankerSetting,
    ranker: Arc<Ranker>,
    _watch: Option<AbortOnDrop>,
}

impl Rankers {
    /// The rankers that are known now, for what the bundle says of rankers. None has been asked anything yet. The task follows what becomes
    /// known later.
    ///
    /// # Errors
    /// One that a flag names can't be asked, or the bundle's features are none; one line that names the flag or the file.
    pub(crate) fn new(
        args: &Args,
        bundle: &Bundle,
        metrics: &Metrics,
        retrieval: &Arc<Retrieval>,
        dependencies: &Arc<Dependencies>,
        known: &Known,
    ) -> Result<(Arc<Self>, AbortOnDrop), String> {
        let maker = Maker::new(args, bundle, retrieval, metrics)?;
        let mut known = known.clone();
        let directory = known.borrow_and_update().clone();
        let mut kept = Vec::new();
        for setting in &directory.rankers {
            match maker.ranker(setting) {
                Ok(ranker) => kept.push(Kept::new(setting, ranker, retrieval, dependencies)),
                Err(reason) if maker.is_from_flags(setting) => return Err(reason),
                Err(reason) => tracing::warn!(ranker = setting.name, reason, "a ranker that can't be asked"),
            }
        }
        let rankers = Arc::new(Self { table: ArcSwap::from_pointee(table_of(&kept, &directory)), maker });
        let (following, retrieval, dependencies) = (rankers.clone(), retrieval.clone(), dependencies.clone());
        let follow = AbortOnDrop::spawn(async move {
            while known.changed().await.is_ok() {
                let directory = known.borrow_and_update().clone();
                following.maker.update(&mut kept, &directory, &retrieval, &dependencies);
                following.table.store(Arc::new(table_of(&kept, &directory)));
            }
            // Nothing will change any more; those that are there are looked after for as long as they are.
            std::future::pending::<()>().await;
        });
        Ok((rankers, follow))
    }

    /// As they are now.
    pub(crate) fn now(&self) -> Arc<Table> {
        self.table.load_full()
    }
}

impl Kept {
    fn new(setting: &RankerSetting, ranker: Ranker, retrieval: &Arc<Retrieval>, dependencies: &Dependencies) -> Self {
        let ranker = Arc::new(ranker);
        Self { setting: setting.clone(), _watch: dependencies.watch(&ranker, retrieval), ranker }
    }
}

fn table_of(kept: &[Kept], directory: &Directory) -> Table {
    Table::new(kept.iter().map(|kept| kept.ranker.clone()).collect(), directory.policy.clone())
}

/// Makes rankers.
struct Maker {
    args: Args,
    columns: Vec<TensorMetadata>,
    /// The output that is the score where no flag says otherwise.
    output: String,
    numbers: Arc<Numbers>,
    metrics: Metrics,
}

impl Maker {
    fn new(args: &Args, bundle: &Bundle, retrieval: &Retrieval, metrics: &Metrics) -> Result<Self, String> {
        let features = bundle.manifest().ranking.features.iter();
        Ok(Self {
            args: args.clone(),
            columns: features.map(|feature| column(bundle, feature)).collect::<Result<_, _>>()?,
            output: bundle.manifest().ranking.output.clone(),
            numbers: Arc::new(defined(bundle, &retrieval.articles)?),
            metrics: metrics.clone(),
        })
    }

    fn is_from_flags(&self, setting: &RankerSetting) -> bool {
        self.args.default_ranker() == *setting || self.args.ranker.contains(setting)
    }

    /// Keeps those that are as they were, and makes and drops others.
    fn update(
        &self,
        kept: &mut Vec<Kept>,
        directory: &Directory,
        retrieval: &Arc<Retrieval>,
        dependencies: &Dependencies,
    ) {
        kept.retain(|kept| directory.rankers.contains(&kept.setting));
        for setting in &directory.rankers {
            if kept.iter().any(|kept| kept.setting == *setting) {
                continue;
            }
            match self.ranker(setting) {
                Ok(ranker) => kept.push(Kept::new(setting, ranker, retrieval, dependencies)),
                Err(reason) => tracing::warn!(ranker = setting.name, reason, "a ranker that can't be asked"),
            }
        }
    }

    fn ranker(&self, setting: &RankerSetting) -> Result<Ranker, String> {
        let args = &self.args;
        let is_default = args.default_ranker().name == setting.name;
        let named = args.score_output.clone().filter(|_| is_default);
        let output = ScoreOutput {
            name: named.unwrap_or_else(|| self.output.clone()),
            column: args.score_column.filter(|_| is_default),
        };
        let rows = RowsCodec {
            rows: "ranking_features".to_owned(),
            ids: ARTICLE_IDS.to_owned(),
            id_input: ARTICLE_ID.to_owned(),
            id_output: ARTICLE_IDS.to_owned(),
            scores: "scores".to_owned(),
            score_output: output.name.clone(),
            columns: self.columns.clone(),
        };
        let model = setting.model.as_ref().unwrap_or(&args.server.model_name);
        let outputs = vec![output.name.clone(), ARTICLE_IDS.to_owned()];
        let settings = Settings { outputs, ..args.call(setting)? };
        let predictor = Predictor::new(&setting.name, &setting.host, model, &settings, rows, self.metrics.clone());
        let predictor = predictor.map_err(|reason| args.at(setting, &reason))?;
        let default_inputs = ModelMetadata { inputs: self.columns.clone(), ..ModelMetadata::default() };
        Ok(Ranker::new(predictor, output, default_inputs, self.numbers.clone()))
    }
}

fn column(bundle: &Bundle, feature: &Feature) -> Result<TensorMetadata, String> {
    let datatype = Datatype::from_name(&feature.datatype).ok_or_else(|| {
        let reason = format!("ranking feature `{}`: unknown datatype `{}`", feature.name, feature.datatype);
        bundle.invalid(MANIFEST, reason).to_string()
    })?;
    Ok(TensorMetadata::new(&feature.name, datatype, &[-1, 1]))
}
