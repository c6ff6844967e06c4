"""Whether all answer the same: before anything is timed."""

import sys
from statistics import mean

from arms import Arm, all_arms, ranking
from page import number, table

from bench import Bench

LEAST_OVERLAP = 0.98
TOP = 20


def measure(bench: Bench) -> dict:
    """How the peers' rankings compare with Hemline's. Exits where they are others."""
    arms = all_arms(bench.tools, bench.recipe)
    asked = [question.body for question in bench.questions[: bench.amounts.compared]]
    with bench.running(arms):
        task = bench.progress.add_task("same ranking", total=len(arms) * len(asked))
        answers: dict[str, list[dict[str, float]]] = {}
        for arm in arms:
            answers[arm.name] = [dict(answer(bench, arm, body, task)) for body in asked]
    first, *others = answers
    found = {name: compare(answers[first], answers[name]) for name in others}
    for name, same in found.items():
        if same["overlap"] < LEAST_OVERLAP:
            sys.exit(
                f"{name} answers other rankings than {first}: only {same['overlap']:.1%} of the articles"
            )
    return {"questions": len(asked), "labels": {arm.name: arm.label for arm in arms}, "same": found}


def answer(bench: Bench, arm: Arm, body: bytes, task: int) -> list[tuple[str, float]]:
    """One ranking."""
    bench.progress.advance(task)
    return ranking(arm.ask(body))


def compare(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, float]:
    """Of rankings as scores by article, best first.

    `overlap` is the mean share of articles that both have, `order` of the first 20 places those with the same
    article (or one that scores the same but for rounding), `score` the largest difference of an article's
    scores.
    """
    overlaps, orders, differences = [], [], []
    for one, other in zip(ours, theirs, strict=True):
        both = one.keys() & other.keys()
        overlaps.append(len(both) / max(len(one), len(other)))
        differences += [abs(one[article] - other[article]) for article in both]
        places = list(zip(list(one.items())[:TOP], list(other.items())[:TOP], strict=True))
        orders.append(mean(a == b or abs(s - t) < 1e-6 for (a, s), (b, t) in places))
    return {"overlap": mean(overlaps), "order": mean(orders), "score": max(differences)}


def page(found: dict) -> list[str]:
    """One table."""
    rows = [
        [
            found["labels"][name],
            f"{same['overlap']:.2%}",
            f"{same['order']:.2%}",
            f"{number(same['score'] * 1e6, 2)}·10⁻⁶",
        ]
        for name, same in found["same"].items()
    ]
    head = [
        "beside Hemline",
        "the same articles",
        f"in the same place, of the first {TOP}",
        "largest difference of a score",
    ]
    asked = f"{found['questions']:,} questions of the mix, asked before anything was timed:"
    return ["### The same rankings", asked, table(head, rows)]
