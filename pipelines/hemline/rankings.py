"""How good is a ranked list, and how sure can one be of it? Metrics per customer, and bootstrap intervals."""

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


def interval(values: np.ndarray, seed: int) -> dict[str, float]:
    """Mean of [n] values and its 95 % bootstrap interval over customers: {mean, low, high}.

    Of a difference it is the paired interval: give it the differences of the same customers.
    """
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        means[i] = values[rng.integers(0, len(values), len(values))].mean()
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}
