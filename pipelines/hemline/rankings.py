"""How good is a ranked list, and how sure can one be of it? Metrics per customer, and bootstrap intervals.

Lists that all show the same few articles can be accurate, too: coverage, exposure and novelty tell.
"""

import numpy as np

from hemline.interactions import Baskets

DEPTH = 12
RESAMPLES = 2000
CONFIDENCE = 0.95


def hits(ranking: np.ndarray, truth: Baskets, articles: int) -> np.ndarray:
    """Whether each ranked article is in the truth of its row: bool, same shape as `ranking`; -1 never is."""
    wanted = np.repeat(np.arange(len(truth)), truth.sizes()) * articles + truth.articles
    ranked = np.arange(len(ranking))[:, None] * articles + ranking
    return np.isin(ranked, wanted) & (ranking >= 0)


def recall(hit: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Share of the truth that is in the list: [n] of hits [n, length] and the sizes of the truths [n]."""
    return hit.sum(axis=1) / sizes


def ndcg(hit: np.ndarray, sizes: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Normalised discounted cumulative gain of the first `depth`: [n]; 1 has the truth on top."""
    hit = hit[:, :depth]
    discount = 1 / np.log2(np.arange(depth) + 2)
    ideal = np.concatenate(([0], np.cumsum(discount)))[np.minimum(sizes, depth)]
    return hit @ discount[: hit.shape[1]] / ideal


def average_precision(hit: np.ndarray, sizes: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Average precision of the first `depth`: [n]; its mean is MAP@depth as in H&M's competition."""
    hit = hit[:, :depth]
    precision = np.cumsum(hit, axis=1) / np.arange(1, hit.shape[1] + 1)
    return (precision * hit).sum(axis=1) / np.minimum(sizes, depth)


def coverage(ranking: np.ndarray, articles: int, depth: int = DEPTH) -> float:
    """Share of all articles that is in the first `depth` of anybody's list."""
    shown = ranking[:, :depth]
    return len(np.unique(shown[shown >= 0])) / articles


def exposure_gini(ranking: np.ndarray, articles: int, depth: int = DEPTH) -> float | None:
    """Gini coefficient of how often each article is in the first `depth`; None where nothing is shown.

    0 shows every article equally often; near 1, a few have all places. Articles nobody is shown count.
    """
    shown = ranking[:, :depth]
    times = np.sort(np.bincount(shown[shown >= 0], minlength=articles))
    if not times.any():
        return None
    return float(
        2 * (np.arange(1, articles + 1) @ times) / (articles * times.sum()) - (articles + 1) / articles
    )


def novelty(ranking: np.ndarray, sold: np.ndarray, depth: int = DEPTH) -> np.ndarray:
    """Mean -log2 of the shown articles' share of all purchases, in bits: [n] from purchases [articles].

    Each article counts one purchase more than it had, so that what was never sold is novel and not infinite.
    A list with nothing in it has 0.
    """
    shown = ranking[:, :depth]
    bits = -np.log2((sold + 1) / (sold.sum() + len(sold)))
    return np.where(shown >= 0, bits[shown], 0).sum(axis=1) / np.maximum((shown >= 0).sum(axis=1), 1)


def interval(values: np.ndarray, seed: int) -> dict[str, float]:
    """Mean of [n] values, its standard error and 95 % bootstrap interval: {mean, low, high, standard_error}.

    Of a difference it is the paired interval: give it the differences of the same customers.
    """
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = values[rng.integers(0, len(values), len(values))].mean()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return {
        "mean": float(values.mean()),
        "low": float(low),
        "high": float(high),
        "standard_error": float(error),
    }
