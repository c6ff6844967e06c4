//! The rankers that requests choose from, by name. Each has its connections, circuit, plan and readiness for itself.

use std::sync::Arc;

use catalog::bundle::{Bundle, Feature, MANIFEST};
use dataplane::{
    Datatype, ModelMetadata, TensorMetadata,
    client::{Predictor, Settings},
    metrics::Metrics,
    readiness::{Dependency, Readiness},
    v1::RowsCodec,
};
use tokio::sync::watch;

use crate::{
    args::Args,
    features::ARTICLE_ID,
    neighbours::Retrieval,
    rank::{ARTICLE_IDS, Ranker, ScoreOutput},
    start::AbortOnDrop,
};

mod setting;

pub(crate) use setting::{LONGEST_NAME, RankerSetting};

/// All of them, the default first.
pub(crate) struct Rankers(Vec<Arc<Ranker>>);

impl Rankers {
    /// The rankers that the settings name, for what the bundle says of rankers. None has been asked anything yet.
    ///
    /// # Errors
    /// One can't be asked, or the bundle's features are none; one line that names the flag or the file.
    pub(crate) fn new(args: &Args, bundle: &Bundle, metrics: &Metrics) -> Result<Self, String> {
        let features = bundle.manifest().ranking.features.iter();
        let columns = features.map(|feature| column(bundle, feature)).collect::<Result<Vec<_>, _>>()?;
        let default = [args.default_ranker()];
        let outputs =
            [(args.score_output.clone(), args.score_column)].into_iter().chain(std::iter::repeat((None, None)));
        let rankers = default.iter().chain(&args.ranker).zip(outputs).map(|(setting, (output, column))| {
            let name = output.unwrap_or_else(|| bundle.manifest().ranking.output.clone());
            ranker(args, setting, ScoreOutput { name, column }, &columns, metrics).map(Arc::new)
        });
        rankers.collect::<Result<_, _>>().map(Self)
    }

    /// The one of this name; the default where none is asked for.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<&Arc<Ranker>> {
        match name {
            Some(name) => self.0.iter().find(|ranker| ranker.name() == name),
            None => self.0.first(),
        }
    }

    /// Their names, the default's first.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|ranker| ranker.name().to_owned()).collect()
    }

    /// Looks after each of them, once the server has `begun`: who looked after its dependency before has no more say.
    pub(crate) fn watch(&self, retrieval: &Arc<Retrieval>, dependencies: &Dependencies) -> Vec<AbortOnDrop> {
        let watched = self.0.iter().zip(&dependencies.each).map(|(ranker, dependency)| {
            let (ranker, retrieval, dependency) = (ranker.clone(), retrieval.clone(), dependency.clone());
            let mut begun = dependencies.begun.clone();
            AbortOnDrop::spawn(async move {
                // Where the start failed, nobody begins any more.
                if begun.wait_for(|begun| *begun).await.is_ok() {
                    ranker.watch(&retrieval.articles, &dependency).await;
                }
            })
        });
        watched.collect()
    }
}

/// Whether the rankers answer, told in the health body and in metrics. They outlive the bundles that rankers are made for.
pub(crate) struct Dependencies {
    /// In the order of [`Rankers`].
    each: Vec<Dependency>,
    /// True from when the port is had: a start that fails says just why, and nothing of rankers.
    begun: watch::Receiver<bool>,
}

impl Dependencies {
    /// One for each ranker. Without the default ranker the server is not ready, unless it degrades; the others hold back nothing.
    pub(crate) fn new(args: &Args, readiness: &Readiness, metrics: &Metrics, begun: watch::Receiver<bool>) -> Self {
        let default = readiness.dependency(&args.ranking_model_type, metrics);
        let default = match args.degrades() {
            true => default,
            false => default.with_latch(readiness.latch("predictor")),
        };
        let others = args.ranker.iter().map(|ranker| readiness.dependency(&ranker.name, metrics));
        Self { each: [default].into_iter().chain(others).collect(), begun }
    }
}

fn ranker(
    args: &Args,
    setting: &RankerSetting,
    output: ScoreOutput,
    columns: &[TensorMetadata],
    metrics: &Metrics,
) -> Result<Ranker, String> {
    let rows = RowsCodec {
        rows: "ranking_features".to_owned(),
        ids: ARTICLE_IDS.to_owned(),
        id_input: ARTICLE_ID.to_owned(),
        id_output: ARTICLE_IDS.to_owned(),
        scores: "scores".to_owned(),
        score_output: output.name.clone(),
        columns: columns.to_vec(),
    };
    let model = setting.model.as_ref().unwrap_or(&args.server.model_name);
    let outputs = vec![output.name.clone(), ARTICLE_IDS.to_owned()];
    let settings = Settings { outputs, ..args.call(setting)? };
    let predictor = Predictor::new(&setting.name, &setting.host, model, &settings, rows, metrics.clone());
    let predictor = predictor.map_err(|reason| args.at(setting, &reason))?;
    let default_inputs = ModelMetadata { inputs: columns.to_vec(), ..ModelMetadata::default() };
    Ok(Ranker::new(predictor, output, default_inputs))
}

fn column(bundle: &Bundle, feature: &Feature) -> Result<TensorMetadata, String> {
    let datatype = Datatype::from_name(&feature.datatype).ok_or_else(|| {
        let reason = format!("ranking feature `{}`: unknown datatype `{}`", feature.name, feature.datatype);
        bundle.invalid(MANIFEST, reason).to_string()
    })?;
    Ok(TensorMetadata::new(&feature.name, datatype, &[-1, 1]))
}
