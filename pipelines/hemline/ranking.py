"""Trains the ranker: CatBoost on the ranking features, as ONNX graphs from features to scores."""

import json
from pathlib import Path

import catboost
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from hemline import contributions, interactions, oblivious, outputs, ranker, ranking_sets, recipe
from hemline.errors import DataError
from hemline.ranker import THREADS, UNKNOWN, Encoders, Features, Sets
from hemline.report import Bar, console, progress_bar, say
from hemline.schema import FEATURES_JSON

CONTRIBUTIONS = "ranker_contributions.json"
GRAPH, ENCODED_GRAPH = "ranker.onnx", "ranker_encoded.onnx"
HELD_OUT = "ranker_test.parquet"
BLIND_TREES = 100  # where validation has nothing that could tell


def train(work: Path, seed: int, recipes: bool = False) -> dict:
    """Train the ranker: `ranker.{onnx,cbm,json}`, `ranker_{encoded.onnx,contributions.json}` and a plot.

    It learns from the candidates that a server would have had in the last weeks; or, as the `recipes` one and
    where these have too little to learn from, from purchases and random articles. `ranker_test.parquet` has
    the rows that it was tested on.

    Returns what `ranker.json` says: features, encoders, the quality on the test rows, each feature's
    importance in percent. Raises DataError where there is nothing to learn and RuntimeError where CatBoost
    disagrees with ONNX, or with the contributions.
    """
    interactions.require(work, "features", FEATURES_JSON)
    sets = recipe.sets(work) if recipes else _candidates(work, seed)
    known = pa.concat_tables([sets.training, sets.validation]).unify_dictionaries()
    encoders = ranker.fit_encoders(known, sets.features)
    nothing = f"{work}: {len(known):,} rows, nothing to tell purchases from others by"
    if not learnable(known, sets.features, encoders):
        raise DataError(nothing)
    # What is held out to choose the number of trees by says as much as the rest: the model has seen it too.
    model = _fit(_classifier(sets, seed, trees(sets, seed)), _pool(known, sets.features, encoders))
    shares = importance(model, sets.features)
    if np.isnan(list(shares.values())).any():  # of trees without a single cut
        raise DataError(nothing)
    scores = ranker.probability(model, ranker.encode(sets.test, sets.features, encoders))
    report = {
        "inputs": outputs.inputs(work, *made_from(recipes)),
        "features": sets.features,
        "candidates": sets.candidates or {},
        "encoders": encoders,
        "trees": model.tree_count_,
        "quality": quality(ranker.labels(sets.test), scores),
        "importance": shares,
    }
    with outputs.replacing(work, "ranker.json") as new:
        _write(new, model, sets, known, report)
    _show(report)
    return report


def made_from(recipes: bool) -> tuple[str, ...]:
    """The files whose content a ranker depends on."""
    return (FEATURES_JSON,) if recipes else (FEATURES_JSON, "retrieval.json")


def _candidates(work: Path, seed: int) -> Sets:
    """The sets of candidates, if there is enough to learn from; else the recipe's."""
    outputs.require(work, "train-retrieval", "retrieval.json", "towers.npz", "past_towers.npz")
    sets = ranking_sets.sets(work, seed)
    if learnable(sets.training, sets.features, ranker.fit_encoders(sets.training, sets.features)):
        return sets
    say("No candidate of the last weeks was bought: the ranker learns from purchases and random articles.")
    return recipe.sets(work)


def _write(new: Path, model: catboost.CatBoostClassifier, sets: Sets, known: pa.Table, report: dict) -> None:
    """All files; completes the report."""
    features, encoders = sets.features, report["encoders"]
    metadata = model.get_metadata()
    metadata["model_guid"] = metadata["train_finish_time"] = ""  # a random id, and the time
    model.save_model(str(new / "ranker.cbm"))
    write_graphs(new, model, features, encoders)
    test = sets.test.slice(0, ranker.PARITY_ROWS)
    pq.write_table(test, new / HELD_OUT)
    outputs.write_json(new / "ranker.json", report)
    report["onnx_largest_difference"] = ranker.check_parity(
        new / GRAPH, new / ENCODED_GRAPH, model, features, encoders, test
    )
    checked = pa.concat_tables([test, known]).slice(0, contributions.CHECKED_ROWS).unify_dictionaries()
    report["contributions_largest_difference"] = contributions.write(
        new / CONTRIBUTIONS,
        model,
        [(feature["name"], feature["datatype"]) for feature in features],
        encoders,
        UNKNOWN,
        ranker.encode(checked, features, encoders),
    )
    plot_importance(report["importance"], new / "ranker_importance.png")


def write_graphs(
    folder: Path, model: catboost.CatBoostClassifier, features: Features, encoders: Encoders
) -> None:
    """The trained model as `ranker.onnx`, which takes raw features, and `ranker_encoded.onnx`.

    Raises RuntimeError where its trees are of another kind than the ranker's.
    """
    forest = oblivious.read(model, folder / "ranker.catboost.json")
    graphs = {
        GRAPH: ranker.to_onnx(forest, features, encoders),
        ENCODED_GRAPH: ranker.encoded_to_onnx(forest, features),
    }
    for name, graph in graphs.items():
        (folder / name).write_bytes(graph.SerializeToString(deterministic=True))


def features(work: Path) -> Features:
    """The features of the trained ranker, in order."""
    return tuple(json.loads((work / "ranker.json").read_text())["features"])


def found_by(work: Path) -> dict:
    """How the trained ranker's candidates were found: `age_group_days`, and shares of the `sources`.

    Empty where it knows nothing of candidates.
    """
    return json.loads((work / "ranker.json").read_text())["candidates"]


def held_out(work: Path) -> pa.Table:
    """Rows of the test window as the trained ranker gets them, with labels."""
    return pq.read_table(work / HELD_OUT)


def encode(work: Path, table: pa.Table) -> np.ndarray:
    """A table with the ranker's features as CatBoost sees them: float32 [rows, features]."""
    return ranker.encode(table, features(work), json.loads((work / "ranker.json").read_text())["encoders"])


def predict_proba(work: Path, table: pa.Table) -> np.ndarray:
    """CatBoost's own probability of a purchase for a table with the ranker's features: float64 [rows]."""
    model = catboost.CatBoostClassifier(allow_writing_files=False).load_model(str(work / "ranker.cbm"))
    return ranker.probability(model, encode(work, table))


def learnable(table: pa.Table, features: Features, encoders: Encoders) -> bool:
    """Whether there are purchases and others, and a feature that is not the same for all."""
    if len(np.unique(ranker.labels(table))) < 2:
        return False
    encoded = ranker.encode(table, features, encoders)
    return bool((encoded != encoded[0]).any())


def trees(sets: Sets, seed: int) -> int:
    """How many trees are best on validation; BLIND_TREES where the splits can't tell."""
    encoders = ranker.fit_encoders(sets.training, sets.features)
    can_tell = len(np.unique(ranker.labels(sets.validation))) == 2
    if not can_tell or not learnable(sets.training, sets.features, encoders):
        say(f"The validation split can't tell how many trees are best: {BLIND_TREES}.")
        return BLIND_TREES
    model = _fit(
        _classifier(sets, seed),
        _pool(sets.training, sets.features, encoders),
        eval_set=_pool(sets.validation, sets.features, encoders),
        early_stopping_rounds=sets.early_stopping_rounds,
    )
    return model.tree_count_


def quality(truth: np.ndarray, probability: np.ndarray) -> dict[str, float | None]:
    """Precision, recall and F1 at a threshold of 0.5, and the area under the ROC curve; None if undefined."""
    predicted, positive = probability >= 0.5, truth == 1
    hit = float((predicted & positive).sum())
    precision, recall = _share(hit, predicted.sum()), _share(hit, positive.sum())
    f1 = _share(2 * hit, predicted.sum() + positive.sum())
    return {"precision": precision, "recall": recall, "f1": f1, "auc": auc(positive, probability)}


def auc(positive: np.ndarray, probability: np.ndarray) -> float | None:
    """Chance that a purchase scores higher than a negative; ties count half; None if undefined."""
    _, where, counts = np.unique(probability, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[where]
    positives = int(positive.sum())
    negatives = len(positive) - positives
    return _share(rank[positive].sum() - positives * (positives + 1) / 2, positives * negatives)


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None


def importance(model: catboost.CatBoostClassifier, features: Features) -> dict[str, float]:
    """Share of each feature in the change of the prediction, in percent."""
    values = model.get_feature_importance(type="PredictionValuesChange", thread_count=THREADS)
    return {feature["name"]: float(value) for feature, value in zip(features, values, strict=True)}


def plot_importance(shares: dict[str, float], path: Path) -> None:
    """Feature importance as horizontal bars, the largest on top."""
    from matplotlib.figure import Figure  # slow to import, needed here only

    ordered = sorted(shares.items(), key=lambda item: item[1])
    figure = Figure(figsize=(8, 1 + 0.25 * len(shares)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([name for name, _ in ordered], [share for _, share in ordered], color="#3b6ea5")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("share of the change in the prediction, %")
    axes.set_title("What the ranker looks at")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _classifier(sets: Sets, seed: int, iterations: int | None = None) -> catboost.CatBoostClassifier:
    parameters = sets.parameters | ({"iterations": iterations} if iterations else {})
    return catboost.CatBoostClassifier(
        **parameters, random_seed=seed, thread_count=THREADS, allow_writing_files=False, verbose=False
    )


def _fit(model: catboost.CatBoostClassifier, pool: catboost.Pool, **how) -> catboost.CatBoostClassifier:
    trees = model.get_params()["iterations"]
    with progress_bar(f"ranker, at most {trees} trees", trees) as bar:
        return model.fit(pool, callbacks=[_Advance(bar)], **how)


class _Advance:
    def __init__(self, bar: Bar) -> None:
        self.bar = bar

    def after_iteration(self, _info: object) -> bool:
        self.bar.advance()
        return True


def _pool(table: pa.Table, features: Features, encoders: Encoders) -> catboost.Pool:
    encoded = ranker.encode(table, features, encoders)
    return catboost.Pool(encoded, ranker.labels(table), thread_count=THREADS)


def _show(report: dict) -> None:
    table = Table(title="Ranker: feature importance", title_justify="left")
    table.add_column("feature")
    table.add_column("%", justify="right")
    for name, share in sorted(report["importance"].items(), key=lambda item: -item[1]):
        table.add_row(name, f"{share:.1f}")
    console().print(table)
    numbers = ", ".join(
        f"{name} {'undefined' if value is None else f'{value:.3f}'}"
        for name, value in report["quality"].items()
    )
    say(f"Ranker, {report['trees']} trees; on the test rows: {numbers}.")
    say(f"Largest difference between ONNX and CatBoost: {report['onnx_largest_difference']:.1e}.")
    difference = report["contributions_largest_difference"]
    say(f"Largest difference between contributions and CatBoost's SHAP values: {difference:.1e}.")
