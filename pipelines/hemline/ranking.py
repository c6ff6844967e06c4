"""Trains the ranker: CatBoost on the ranking features, as one ONNX graph from raw features to scores.

CatBoost cannot export categories to ONNX. So each category becomes a number before training, and the graph
does the same with a LabelEncoder in front of the trees: nothing about features has to be written again on the
serving side.
"""

import json
from pathlib import Path

import catboost
import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper
from rich.table import Table

from hemline import contributions, interactions, outputs
from hemline.errors import DataError
from hemline.report import Bar, console, progress_bar, say
from hemline.schema import FEATURES_JSON, RANKING_FEATURES, ranking_file

NUMBERS = tuple(name for name, datatype in RANKING_FEATURES if datatype == "FP32")
CATEGORIES = tuple(name for name, datatype in RANKING_FEATURES if datatype == "BYTES")
OUTPUT = "scores"
CONTRIBUTIONS = "ranker_contributions.json"
# One schema for all splits, whatever an empty one was written as.
COLUMNS = pa.schema(
    [
        (name, pa.float32() if name in NUMBERS else pa.dictionary(pa.int32(), pa.string()))
        for name, _ in RANKING_FEATURES
    ]
    + [("label", pa.int8())]
)

# The recipe's.
PARAMETERS = {"iterations": 100, "depth": 10, "learning_rate": 0.2, "scale_pos_weight": 10}
EARLY_STOPPING_ROUNDS = 5
# CatBoost's sums depend on the number of threads: a fixed one gives the same model on the same machine.
THREADS = 2

# What sells changes with the season: older months made the ranker worse on validation, and slower to train. A
# bundle is made for the weeks that follow its data; the month tells the ranker where in its season a request
# is.
SEASON_MONTHS = 2

# A category is the rank of its share of purchases among the feature's categories, from 0: one cut of a tree
# then separates what sells from what does not. Those with fewer rows than RARE, and those that training never
# saw, share UNKNOWN, so that the trees know what to make of it.
RARE = 20
UNKNOWN = -1.0

PARITY_ROWS = 20_000
PARITY = 1e-5

# TreeEnsembleClassifier came with version 1, LabelEncoder from strings to floats with 2.
OPSETS = (("", 17), ("ai.onnx.ml", 2))
IR_VERSION = 8

Encoders = dict[str, dict[str, float]]


def train(work: Path, seed: int) -> dict:
    """Train the ranker: `ranker.{onnx,cbm,json}`, `ranker_contributions.json` and a plot in `work`.

    Returns what `ranker.json` says: the encoders, the quality on the test rows, each feature's importance in
    percent. Raises DataError where there is nothing to learn and RuntimeError where CatBoost disagrees with
    ONNX, or with the contributions.
    """
    interactions.require(work, "features", FEATURES_JSON)
    made_from = outputs.inputs(work, FEATURES_JSON)
    training, validation, test = (read(work, split) for split in ("train", "validation", "test"))
    training = of_season(training, interactions.window(work)["train_end"])
    # The week before the test window says most about it: the model that is kept has seen it too.
    known = pa.concat_tables([training, validation]).unify_dictionaries()
    encoders = fit_encoders(known)
    nothing = f"{work / ranking_file('train')}: {len(known):,} rows, nothing to tell purchases from others by"
    if not learnable(known, encoders):
        raise DataError(nothing)
    model = _fit(_classifier(seed, iterations=trees(training, validation, seed)), _pool(known, encoders))
    shares = importance(model)
    if np.isnan(list(shares.values())).any():  # of trees without a single cut
        raise DataError(nothing)
    report = {
        "inputs": made_from,
        "encoders": encoders,
        "trees": model.tree_count_,
        "quality": quality(labels(test), _probability(model, encode(test, encoders))),
        "importance": shares,
    }
    with outputs.replacing(work, "ranker.json") as new:
        metadata = model.get_metadata()
        metadata["model_guid"] = metadata["train_finish_time"] = ""  # a random id, and the time
        model.save_model(str(new / "ranker.cbm"))
        graph = to_onnx(model, encoders, new)
        (new / "ranker.onnx").write_bytes(graph.SerializeToString(deterministic=True))
        outputs.write_json(new / "ranker.json", report)
        report["onnx_largest_difference"] = check_parity(new, test)
        checked = pa.concat_tables([test, known]).slice(0, contributions.CHECKED_ROWS).unify_dictionaries()
        report["contributions_largest_difference"] = contributions.write(
            new / CONTRIBUTIONS, model, RANKING_FEATURES, encoders, UNKNOWN, encode(checked, encoders)
        )
        plot_importance(shares, new / "ranker_importance.png")
    _show(report)
    return report


def predict_proba(work: Path, table: pa.Table) -> np.ndarray:
    """CatBoost's own probability of a purchase for a table with the ranking features: float64 [rows]."""
    encoders = json.loads((work / "ranker.json").read_text())["encoders"]
    model = catboost.CatBoostClassifier(allow_writing_files=False).load_model(str(work / "ranker.cbm"))
    return _probability(model, encode(table, encoders))


def run_onnx(session: onnxruntime.InferenceSession, table: pa.Table) -> np.ndarray:
    """The graph's probability of a purchase for a table with the ranking features: float32 [rows]."""
    inputs = {name: _numbers(table, name)[:, None] for name in NUMBERS}
    for name in CATEGORIES:
        inputs[name] = np.array(table[name].to_pylist(), dtype=object)[:, None]
    return session.run([OUTPUT], inputs)[0]


def read(work: Path, split: str) -> pa.Table:
    """One split's ranking set, with dictionary-encoded categories."""
    table = pq.read_table(work / ranking_file(split), columns=COLUMNS.names, read_dictionary=list(CATEGORIES))
    return table.cast(COLUMNS)


def labels(table: pa.Table) -> np.ndarray:
    """1 where the article was bought, int8 [rows]."""
    return table["label"].to_numpy().astype(np.int8)


def fit_encoders(table: pa.Table) -> Encoders:
    """The number of each category of each feature; rare categories are left out (see RARE)."""
    encoders = {}
    bought = labels(table)
    for name in CATEGORIES:
        values, codes = _categories(table, name)
        rows = np.bincount(codes, minlength=len(values))
        share = np.bincount(codes, bought, len(values)) / np.maximum(rows, 1)
        kept = [i for i in range(len(values)) if rows[i] >= RARE]
        kept.sort(key=lambda i: (share[i], values[i]))
        encoders[name] = {values[i]: float(rank) for rank, i in enumerate(kept)}
    return encoders


def encode(table: pa.Table, encoders: Encoders) -> np.ndarray:
    """The features as CatBoost sees them, in order of the schema: float32 [rows, features]."""
    encoded = np.empty((len(table), len(RANKING_FEATURES)), np.float32)
    for column, (name, _) in enumerate(RANKING_FEATURES):
        if name in NUMBERS:
            encoded[:, column] = _numbers(table, name)
        else:
            values, codes = _categories(table, name)
            encoded[:, column] = np.array([encoders[name].get(v, UNKNOWN) for v in values], np.float32)[codes]
    return encoded


def of_season(table: pa.Table, last: str) -> pa.Table:
    """The rows of the SEASON_MONTHS months, of whichever year, that end with the month of an ISO date.

    All rows where these have no purchases, or nothing but purchases.
    """
    angle = np.arctan2(table["month_sin"].to_numpy(), table["month_cos"].to_numpy())
    month = np.round(angle * 6 / np.pi).astype(int)
    season = table.filter(pa.array((int(last[5:7]) - month) % 12 < SEASON_MONTHS))
    if len(np.unique(labels(season))) == 2:
        return season
    say(f"No purchases to learn from in the {SEASON_MONTHS} months that end {last}: all months are used.")
    return table


def learnable(table: pa.Table, encoders: Encoders) -> bool:
    """Whether there are purchases and others, and a feature that is not the same for all."""
    encoded = encode(table, encoders)
    return len(np.unique(labels(table))) == 2 and bool((encoded != encoded[0]).any())


def trees(training: pa.Table, validation: pa.Table, seed: int) -> int:
    """How many trees are best on validation; the recipe's number where the splits can't tell."""
    encoders = fit_encoders(training)
    if not learnable(training, encoders) or len(np.unique(labels(validation))) < 2:
        say(f"The validation split can't tell how many trees are best: {PARAMETERS['iterations']}.")
        return PARAMETERS["iterations"]
    held_out = _pool(validation, encoders)
    model = _fit(
        _classifier(seed),
        _pool(training, encoders),
        eval_set=held_out,
        early_stopping_rounds=EARLY_STOPPING_ROUNDS,
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


def importance(model: catboost.CatBoostClassifier) -> dict[str, float]:
    """Share of each feature in the change of the prediction, in percent."""
    values = model.get_feature_importance(type="PredictionValuesChange", thread_count=THREADS)
    return {name: float(value) for (name, _), value in zip(RANKING_FEATURES, values, strict=True)}


def to_onnx(model: catboost.CatBoostClassifier, encoders: Encoders, scratch: Path) -> onnx.ModelProto:
    """The graph: a LabelEncoder per category, features side by side, CatBoost's trees, one score.

    Of CatBoost's own export only the trees are taken. Its metadata (a random id, the time, the machine) and
    the ZipMap, which makes a list of dictionaries of the probabilities, stay behind.
    """
    exported = scratch / "ranker.catboost.onnx"
    model.save_model(str(exported), format="onnx")
    try:
        (trees,) = (
            node for node in onnx.load(exported).graph.node if node.op_type == "TreeEnsembleClassifier"
        )
    finally:
        exported.unlink()
    trees.ClearField("name")
    trees.input[:] = ["features"]
    trees.output[:] = ["label", "probabilities"]

    columns = [name if name in NUMBERS else f"{name}_number" for name, _ in RANKING_FEATURES]
    nodes = [
        *(_label_encoder(name, encoders[name]) for name in CATEGORIES),
        helper.make_node("Concat", columns, ["features"], axis=1),
        trees,
        helper.make_node("Gather", ["probabilities", "bought"], [OUTPUT], axis=1),
    ]
    types = {"FP32": TensorProto.FLOAT, "BYTES": TensorProto.STRING}
    graph = helper.make_graph(
        nodes,
        "ranker",
        [
            helper.make_tensor_value_info(name, types[datatype], ["N", 1])
            for name, datatype in RANKING_FEATURES
        ],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.array(1, np.int64), "bought")],
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS]
    model_proto = helper.make_model(graph, producer_name="hemline", opset_imports=opsets)
    model_proto.ir_version = IR_VERSION
    onnx.checker.check_model(model_proto)
    return model_proto


def _label_encoder(name: str, numbers: dict[str, float]) -> onnx.NodeProto:
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name}_number"],
        domain="ai.onnx.ml",
        # An encoder needs at least one key; no category is the empty string.
        keys_strings=list(numbers) or [""],
        values_floats=list(numbers.values()) or [UNKNOWN],
        default_float=UNKNOWN,
    )


def check_parity(work: Path, held_out: pa.Table) -> float:
    """Largest difference between the graph and CatBoost, on held-out rows and with strings never seen.

    Raises RuntimeError where it is above 1e-5.
    """
    rows = held_out.slice(0, PARITY_ROWS)
    strange = rows
    for i, name in enumerate(CATEGORIES):
        # Each feature is strange in another third of the rows, so that known and unknown mix.
        mask = pa.array(np.arange(len(rows)) % 3 == i % 3)
        plain = rows[name].cast(pa.string())
        strange = strange.set_column(
            strange.schema.get_field_index(name), name, pc.if_else(mask, "never seen ✂", plain)
        )
    session = onnxruntime.InferenceSession(work / "ranker.onnx", providers=["CPUExecutionProvider"])
    both = pa.concat_tables([_plain(rows), _plain(strange)])
    difference = (
        float(np.abs(run_onnx(session, both) - predict_proba(work, both)).max()) if len(both) else 0.0
    )
    if not difference <= PARITY:
        raise RuntimeError(f"ranker.onnx differs from CatBoost by {difference:.1e}, more than {PARITY:.0e}")
    return difference


def plot_importance(shares: dict[str, float], path: Path) -> None:
    """Feature importance as horizontal bars, the largest on top."""
    from matplotlib.figure import Figure  # slow to import, needed here only

    ordered = sorted(shares.items(), key=lambda item: item[1])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh([name for name, _ in ordered], [share for _, share in ordered], color="#3b6ea5")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel("share of the change in the prediction, %")
    axes.set_title("What the ranker looks at")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _classifier(seed: int, **parameters: int) -> catboost.CatBoostClassifier:
    return catboost.CatBoostClassifier(
        **PARAMETERS | parameters,
        random_seed=seed,
        thread_count=THREADS,
        allow_writing_files=False,
        verbose=False,
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


def _pool(table: pa.Table, encoders: Encoders) -> catboost.Pool:
    return catboost.Pool(encode(table, encoders), labels(table), thread_count=THREADS)


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


def _probability(model: catboost.CatBoostClassifier, encoded: np.ndarray) -> np.ndarray:
    if not len(encoded):
        return np.empty(0)
    return model.predict_proba(encoded, thread_count=THREADS)[:, 1]


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy().astype(np.float32)


def _categories(table: pa.Table, name: str) -> tuple[list[str], np.ndarray]:
    """Values and codes of a text column, whether or not it is dictionary-encoded."""
    column = table[name]
    column = column.combine_chunks() if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    column = column.unify_dictionaries().combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return column.dictionary.to_pylist(), column.indices.to_numpy()


def _plain(table: pa.Table) -> pa.Table:
    """The same table with its categories as plain text."""
    fields = [pa.field(f.name, pa.string()) if f.name in CATEGORIES else f for f in table.schema]
    return table.cast(pa.schema(fields))
