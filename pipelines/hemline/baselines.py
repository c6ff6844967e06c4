"""What a recommender has to beat: popularity, neighbours, ALS and EASE^R, on the same question as the bundle.

recent_popularity    what sold most in the last days; how many days is chosen
all_time_popularity  what sold most since the first day
item_cosine          what the same people bought: cosine of binary purchases, 100 neighbours an article
als                  factors of customers and articles (Hu, Koren, Volinsky 2008), by `implicit`
ease                 a linear model of articles by articles in closed form, EASE^R (Steck 2019)

Lists are int64 [n, LENGTH] rows of `articles.parquet`, best first, -1 at the end where articles run out, and
without what the customer had bought. Where a method has nothing to say (of a customer without a purchase, or
beyond an article's neighbours) recent popularity follows, as it would in a shop.

Settings are chosen by NDCG@12 on the validation split, with what was bought before it. Then all is made anew
from training and validation. In a random split, or where validation is empty, the defaults are taken.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.linalg import lapack
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from hemline import interactions, rankings
from hemline.errors import DataError
from hemline.interactions import Baskets, Interactions
from hemline.report import Bar, progress_bar, say

LENGTH = 100
DAYS = (1, 3, 7, 14, 28, 56)
DEFAULT_DAYS = 7
NEIGHBOURS = 100
ITERATIONS = 15
ALS_NAMES = ("factors", "alpha", "regularization")  # alpha is the weight of a purchase
# With few purchases a customer, few factors and much regularization are best.
ALS_GRID = (
    (16, 10.0, 30.0),
    (16, 10.0, 100.0),
    (32, 10.0, 100.0),
    (64, 1.0, 10.0),
    (64, 10.0, 100.0),
    (128, 10.0, 100.0),
)
DEFAULT_ALS = (32, 10.0, 100.0)
LAMBDAS = (30.0, 100.0, 300.0, 1000.0, 3000.0)
DEFAULT_LAMBDA = 300.0
# EASE^R inverts a dense matrix of articles by articles: 576 MB, and a few minutes of one core.
EASE_ARTICLES = 12_000
# What settings are chosen with: enough to tell them apart, and seconds rather than minutes.
TUNING_TRUTHS = 5_000
TUNING_CUSTOMERS = 100_000
TUNING_ARTICLES = 2_000
BLOCK = 512
QUICK = 2_000_000  # purchases up to which a fit takes few seconds

Setting = float | tuple[float, ...]


@dataclass(frozen=True)
class Past:
    """What is known on the day before the days that lists are about, and whom the lists are for."""

    purchases: Interactions
    until: int  # the first day that lists are about; purchases are before it, unless the split is random
    bought: Baskets  # by the customers that lists are for, in their order; empty for one who is new
    seed: int

    def matrix(self) -> csr_matrix:
        """What the customers that lists are for have bought: binary float32 [n, articles]."""
        return binary(self.bought, self.purchases.articles)

    def part(self) -> "Past":
        """The same question, with the purchases of a sample of the other customers."""
        everyone = np.unique(self.purchases.customer)
        if len(everyone) <= TUNING_CUSTOMERS:
            return self
        drawn = np.random.default_rng(self.seed).choice(everyone, TUNING_CUSTOMERS, replace=False)
        kept = np.isin(self.purchases.customer, np.union1d(drawn, self.bought.customers))
        return Past(self.purchases.where(kept), self.until, self.bought, self.seed)


@dataclass(frozen=True)
class Trial:
    """The validation split's question and its answer."""

    past: Past
    truth: Baskets

    def choose(
        self, title: str, settings: Sequence[Setting], make: Callable[[Setting], np.ndarray]
    ) -> tuple[Setting, dict[str, float]]:
        """The setting whose lists have the largest NDCG@12, the first of equals; and that of each."""
        scores = []
        with progress_bar(f"tune {title}", len(settings)) as bar:
            for setting in settings:
                hit = rankings.hits(make(setting), self.truth, self.past.purchases.articles)
                scores.append(float(rankings.ndcg(hit, self.truth.sizes()).mean()))
                bar.advance()
        found = {_name(setting): score for setting, score in zip(settings, scores, strict=True)}
        return settings[int(np.argmax(scores))], found


def make(
    purchases: Interactions, window: dict, bought: Baskets, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Lists for the test split by name, for the customers of `bought`; and the settings they were made with.

    Settings are JSON: each method's own, and `validation_ndcg_at_12` of every setting that was tried.
    The same arguments give the same lists on the same machine.
    """
    temporal = window["split"] == "temporal"
    past = Past(purchases.of("train", "validation"), _day(window, "test_start"), bought, seed)
    with threadpool_limits(1, "blas"):  # sums of several threads differ from run to run
        trial = validation(purchases, window, seed) if temporal else None
        settings = choose(trial) if trial else defaults(temporal)
        recent = popularity(past, settings["recent_popularity"]["days"])
        factors = settings["als"]
        ease_list, articles = ease(past, settings["ease"]["lambda"])
        lists = {
            "recent_popularity": recent,
            "all_time_popularity": popularity(past, None),
            "item_cosine": filled(item_cosine(past), recent),
            "als": filled(als(past, *(factors[name] for name in ALS_NAMES)), recent),
            "ease": filled(ease_list, recent),
        }
    sold = len(np.unique(past.purchases.article))
    if articles < sold:
        say(f"EASE^R is of the {articles:,} most bought of {sold:,} articles only: its inverse is dense")
    settings["ease"] |= {"articles": articles, "articles_bought": sold}
    return lists, settings


def defaults(temporal: bool) -> dict[str, dict]:
    """The settings where none can be chosen. In a random split no days are the last, and all count."""
    return _settings(DEFAULT_DAYS if temporal else None, DEFAULT_ALS, DEFAULT_LAMBDA)


def choose(trial: Trial) -> dict[str, dict]:
    """The settings with the best lists for the validation split."""
    part = trial.past.part()
    days, tried_days = trial.choose("recent popularity", DAYS, lambda days: popularity(trial.past, days))
    factors, tried_als = trial.choose("ALS", ALS_GRID, lambda setting: als(part, *setting))
    # Of the most bought articles only: an inverse costs the cube of their number.
    kept, gram = co_purchases(part, TUNING_ARTICLES)
    strength, tried_ease = trial.choose(
        "EASE^R", LAMBDAS, lambda strength: ease_lists(part, kept, ease_weights(gram, strength))
    )
    settings = _settings(days, factors, strength)
    for name, tried in (("recent_popularity", tried_days), ("als", tried_als), ("ease", tried_ease)):
        settings[name]["validation_ndcg_at_12"] = tried
    return settings


def _settings(days: int | None, factors: tuple[float, ...], strength: float) -> dict[str, dict]:
    return {
        "recent_popularity": {"days": days},
        "item_cosine": {"neighbours": NEIGHBOURS},
        "als": {**dict(zip(ALS_NAMES, factors, strict=True)), "iterations": ITERATIONS},
        "ease": {"lambda": strength},
    }


def validation(purchases: Interactions, window: dict, seed: int) -> Trial | None:
    """The question that settings are chosen by; None where nothing was bought before or in the validation."""
    before, during = purchases.of("train"), purchases.of("validation")
    if not len(before.day) or not len(during.day):
        return None
    truth = interactions.first_purchases(during, before)
    if not len(truth):
        return None
    truth = truth.sample(TUNING_TRUTHS, seed)
    bought = interactions.baskets(before.pairs(), before.articles).of(truth.customers)
    return Trial(Past(before, _day(window, "train_end") + 1, bought, seed), truth)


def popularity(past: Past, days: float | None) -> np.ndarray:
    """What was bought most often in the last `days` days, or ever: [n, LENGTH]."""
    counted = past.purchases
    if days is not None:
        counted = counted.where(counted.day >= past.until - days)
    return interactions.most_bought(counted, past.bought, LENGTH)


def item_cosine(past: Past) -> np.ndarray:
    """Articles by the summed cosines to those in the customer's history: [n, LENGTH].

    Of each article only its NEIGHBOURS nearest count, so that memory grows with the articles and not with
    their square.
    """
    everyone = _known(past)
    with _long("item-item cosine", 1, past) as bar:
        model = ItemItemRecommender(K=NEIGHBOURS + 1)  # an article is the first of its own neighbours
        model.fit(_unit_columns(binary(everyone, past.purchases.articles)), show_progress=False)
        if bar:
            bar.advance()
    similar = model.similarity.astype(np.float32)
    similar.setdiag(0)
    similar.eliminate_zeros()
    history = past.matrix()

    def scores(start: int, stop: int) -> np.ndarray:
        near = (history[start:stop] @ similar).toarray()
        near[near == 0] = -np.inf
        return near

    return interactions.ranked(scores, past.bought, past.purchases.articles, LENGTH)


def als(past: Past, factors: int, alpha: float, regularization: float) -> np.ndarray:
    """Articles by the inner product of factors that alternating least squares finds: [n, LENGTH].

    `alpha` is the weight of a purchase beside that of none, which is 1. Nothing for a new customer.
    """
    everyone = _known(past)
    model = AlternatingLeastSquares(
        factors=factors,
        alpha=alpha,
        regularization=regularization,
        iterations=ITERATIONS,
        random_state=past.seed,
    )
    with _long("ALS", ITERATIONS, past) as bar:
        done = (lambda *_: bar.advance()) if bar else None
        model.fit(binary(everyone, past.purchases.articles), show_progress=False, callback=done)
    at = np.minimum(np.searchsorted(everyone.customers, past.bought.customers), len(everyone) - 1)
    found = interactions.top(model.user_factors[at], model.item_factors, past.bought, LENGTH)
    found[past.bought.sizes() == 0] = -1
    return found


def ease(past: Past, strength: float, most: int = EASE_ARTICLES) -> tuple[np.ndarray, int]:
    """Articles by EASE^R with λ = `strength`: [n, LENGTH]; and how many articles took part, the most bought.

    Nothing for a customer who bought none of these.
    """
    takes_long = min(past.purchases.articles, most) > TUNING_ARTICLES
    with progress_bar("EASE^R", 2) if takes_long else nullcontext() as bar:
        kept, gram = co_purchases(past, most)
        if bar:
            bar.advance()
        weights = ease_weights(gram, strength)
        if bar:
            bar.advance()
    return ease_lists(past, kept, weights), len(kept)


def co_purchases(past: Past, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The at most `most` most bought articles, ascending; and who bought both of two: float32 [k, k]."""
    everyone = binary(_known(past), past.purchases.articles)
    buyers = np.bincount(everyone.indices, minlength=past.purchases.articles)
    kept = np.argsort(-buyers, kind="stable")[:most]
    kept = np.sort(kept[buyers[kept] > 0])
    everyone = everyone[:, kept]
    articles = everyone.T.tocsr()
    gram = np.empty((len(kept), len(kept)), np.float32)
    for start in range(0, len(kept), BLOCK):
        gram[start : start + BLOCK] = (articles[start : start + BLOCK] @ everyone).toarray()
    return kept, gram


def ease_weights(gram: np.ndarray, strength: float) -> np.ndarray:
    """B = I - P · diag(1 / diag P) with P = (gram + λI)⁻¹: float32 [k, k], its diagonal 0.

    Raises DataError where λ is too small for single precision.
    """
    regular = gram.astype(np.float32, order="F")  # a copy: both steps of LAPACK are in place
    np.fill_diagonal(regular, regular.diagonal() + strength)
    lower, indefinite = lapack.spotrf(regular, lower=1, overwrite_a=1)
    if indefinite:
        raise DataError(f"EASE^R: λ = {strength:g} is too small for the purchases at hand")
    inverse, _ = lapack.spotri(lower, lower=1, overwrite_c=1)
    inverse += np.tril(inverse, -1).T
    inverse /= -inverse.diagonal()
    np.fill_diagonal(inverse, 0)
    return inverse


def ease_lists(past: Past, kept: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Lists of the articles `kept` by their `weights`: [n, LENGTH]."""
    history = past.matrix()[:, kept]

    def scores(start: int, stop: int) -> np.ndarray:
        part = history[start:stop]
        found = np.full((stop - start, past.purchases.articles), -np.inf, np.float32)
        found[:, kept] = part @ weights
        found[part.getnnz(axis=1) == 0] = -np.inf
        return found

    return interactions.ranked(scores, past.bought, past.purchases.articles, LENGTH)


def filled(lists: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """`lists` with what is in `behind` and not yet in them, in its order, in place of -1 at the end."""
    whole = lists.copy()
    for row in np.flatnonzero((lists < 0).any(axis=1)):
        own = lists[row][lists[row] >= 0]
        more = behind[row][~np.isin(behind[row], own)][: len(whole[row]) - len(own)]
        whole[row] = np.concatenate((own, more, np.full(len(whole[row]) - len(own) - len(more), -1)))
    return whole


def binary(baskets: Baskets, articles: int) -> csr_matrix:
    """Ones where a customer has an article: float32 [len(baskets), articles]."""
    ones = np.ones(len(baskets.articles), np.float32)
    return csr_matrix((ones, baskets.articles, baskets.offsets), (len(baskets), articles))


def _unit_columns(ones: csr_matrix) -> csr_matrix:
    """Binary columns scaled to length 1: inner products are cosines. Float64, as `implicit` wants."""
    buyers = np.bincount(ones.indices, minlength=ones.shape[1])
    return csr_matrix((1 / np.sqrt(buyers[ones.indices]), ones.indices, ones.indptr), ones.shape)


def _known(past: Past) -> Baskets:
    """What everybody had bought."""
    return interactions.baskets(past.purchases.pairs(), past.purchases.articles)


def _day(window: dict, name: str) -> int:
    """A date of the window as `Interactions.day` counts."""
    return int((np.datetime64(window[name]) - np.datetime64(window["first"])).astype(int))


def _name(setting: Setting) -> str:
    """A setting as a key of a JSON object."""
    values = setting if isinstance(setting, tuple) else (setting,)
    return ", ".join(f"{value:g}" for value in values)


def _long(title: str, total: int, past: Past) -> AbstractContextManager[Bar | None]:
    """A bar where there is much to fit."""
    return progress_bar(title, total) if len(past.purchases.day) > QUICK else nullcontext()
