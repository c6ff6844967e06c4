"""The pair in each protocol, and the predictor alone."""

import numpy as np
import pyarrow as pa
from arms import MODEL, Arm, hemline, ranking
from mix import SEED, write
from page import number, table
from protocols import PROTOCOLS, Request, Tensor, v1, v2

from bench import Bench, mid
from sections.throughput import milliseconds

CONNECTIONS = (1, 16)
LISTS, ROWS = 200, 100  # of candidates, for the predictor alone
PAIR, ALONE = "the pair", "the predictor alone"


def measure(bench: Bench) -> dict:
    """Closed loop, each protocol."""
    arm = hemline(bench.tools, bench.recipe)
    files = {protocol: bench.work / f"lists-{protocol}.bodies" for protocol in PROTOCOLS}
    asked = {protocol: (write(lists(bench, protocol), file), file) for protocol, file in files.items()}

    def ask(cell: tuple[str, str, int]) -> dict:
        who, protocol, connections = cell
        seconds = bench.amounts.shorter
        if who == PAIR:
            return bench.ask(arm, connections, protocol, seconds)
        port = arm.ports["predictor_grpc" if protocol == "gRPC" else "predictor_http"]
        return bench.asked(arm, port, *asked[protocol], connections, protocol, seconds)

    cells = [(who, protocol, c) for who in (PAIR, ALONE) for c in CONNECTIONS for protocol in PROTOCOLS]
    with bench.running([arm]):
        for protocol in PROTOCOLS:
            check(bench, arm, protocol)
        found = bench.turns("protocols", cells, ask)
    return {
        "cells": [{"who": w, "protocol": p, "connections": c, "rounds": r} for (w, p, c), r in found.items()]
    }


def check(bench: Bench, arm: Arm, protocol: str) -> None:
    """Exits where a protocol's answer does not name the articles that V1's does."""
    question = bench.questions[0]
    known = [article for article, _ in ranking(arm.ask(question.body))]
    answer = bench.first_answer(arm, question.request(protocol, MODEL), protocol)
    places = [answer.find(article.encode()) for article in known]
    if min(places) < 0:
        raise SystemExit(f"{protocol}: the answer does not have the articles that V1's has")


def lists(bench: Bench, protocol: str) -> list[Request]:
    """Lists of candidates with their features, as a transformer sends them."""
    bundle = bench.recipe.bundle
    with pa.memory_map(str(bundle / "retrieval" / "articles.arrow")) as source:
        articles = pa.ipc.open_file(source).read_all()
    chance = np.random.default_rng(SEED)
    asked = []
    for _ in range(LISTS):
        some = articles.take(pa.array(chance.choice(len(articles), ROWS, replace=False)))
        columns = {}
        for name, datatype in bench.ranking_features.items():
            if datatype == "FP32":
                columns[name] = np.full((ROWS, 1), round(chance.random(), 4), np.float32)
            else:
                columns[name] = np.array(some[name].to_pylist()).reshape(ROWS, 1)
        ids = some["article_id"].to_pylist()
        if protocol == "V1":
            values = (column.ravel().tolist() for column in columns.values())
            rows = [list(row) for row in zip(*values, strict=True)]
            asked.append(v1(MODEL, [{"ranking_features": rows, "article_ids": ids}]))
        else:
            tensors = [Tensor(name, column) for name, column in columns.items()]
            asked.append(
                v2(MODEL, [*tensors, Tensor("article_id", np.array(ids).reshape(ROWS, 1))], protocol)
            )
    return asked


def cells_of(found: dict, who: str, protocol: str, connections: int) -> list[dict]:
    """The rounds of a cell."""
    wanted = (who, protocol, connections)
    return next(c["rounds"] for c in found["cells"] if (c["who"], c["protocol"], c["connections"]) == wanted)


def page(found: dict) -> list[str]:
    """One table."""
    rows = []
    for who in (PAIR, ALONE):
        for connections in CONNECTIONS:
            for protocol in PROTOCOLS:
                seen = cells_of(found, who, protocol, connections)
                rates = number(mid(seen, "requests_per_second"))
                latencies = [milliseconds(seen, what) for what in ("p50_us", "p99_us")]
                rows.append([f"{who}, {protocol}, {connections}", rates, *latencies])
    text = f"Hemline; alone, its predictor gets {ROWS} rows with their strings."
    return ["### Protocols", text, table(["connections", "requests/s", "p50, ms", "p99"], rows)]
