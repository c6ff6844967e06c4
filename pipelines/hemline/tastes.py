"""The truth behind generated purchases: who likes what, when; all of it probabilities in closed form.

    P(article | customer, week) = Σ_cluster mixture[customer, cluster] · P(article | cluster, age group, week)
    P(article | cluster, age group, week)
        ∝ appeal · life(week) · season(week) · taste(cluster) · age fit(age group)

So purchases are sampled exactly (a cluster from the mixture, then an article from that cluster's table), and
the best possible recommendations are known: that is the oracle that trained models are measured against.

Appeal, taste and age fit depend on observable attributes (department, type, colour, …) as well as on what
only the article's id tells: models on attributes can learn a good part, models on ids more.
"""

from dataclasses import dataclass

import numpy as np

from hemline import catalogue, schema

CLUSTERS = 40
# Representative age (years) of each of schema.AGE_GROUPS and the open one above.
GROUP_AGES = np.array([17.0, 22.0, 30.0, 40.0, 50.0, 60.0, 70.0])
DAYS_A_YEAR = 365.25

# Spread (standard deviation of log-weights) of each cause. These were chosen so that the most popular
# articles reach about a quarter of the oracle's NDCG@12: it is no straw man, and not the answer.
APPEAL_SPREAD = {"department": 0.9, "product": 0.4, "own": 0.3}
TASTE_SPREAD = {
    "index": 1.2,
    "section": 0.4,
    "product_type": 0.6,
    "garment_group": 0.4,
    "colour": 0.4,
    "appearance": 0.3,
    "style": 0.4,
}
STYLE_DIMENSIONS = 6
PRICE_WIDTH = 0.8  # of log price: how far from its level a cluster still buys
AGE_WIDTH = 14.0  # years
CUSTOMER_AGE_WIDTH = 10.0  # years: how far from a cluster's age its customers are
CLUSTERS_A_CUSTOMER = (0.35, 0.35, 0.2, 0.1)  # probability of 1, 2, 3, 4


@dataclass(frozen=True)
class Truth:
    """Factors of the article weights; A articles, C clusters, G age groups.

    appeal [A], taste [C, A] and age_fit [G, A] are weights (positive); launch [A] and life [A] are days
    (launch may be before the first day; life is the time constant of the decay, infinite for evergreens);
    season_peak [A] is a day of the year and season_strength [A] the log-amplitude. cluster_age [C] is in
    years.
    """

    appeal: np.ndarray
    taste: np.ndarray
    age_fit: np.ndarray
    launch: np.ndarray
    life: np.ndarray
    season_peak: np.ndarray
    season_strength: np.ndarray
    cluster_age: np.ndarray

    def on(self, day: float, day_of_year: float) -> np.ndarray:
        """Weight [A] of each article at a time, before taste and age: appeal · life · season."""
        age = day - self.launch
        alive = np.where(age >= 0, np.exp(-np.maximum(age, 0) / self.life), 0.0)
        angle = 2 * np.pi * (day_of_year - self.season_peak) / DAYS_A_YEAR
        return self.appeal * alive * np.exp(self.season_strength * (np.cos(angle) - 1))

    def weights(self, now: np.ndarray, cluster: int, group: int) -> np.ndarray:
        """Unnormalised P(article | cluster, age group, week) [A]; `now` is what `on` gave for the week."""
        return now * self.taste[cluster] * self.age_fit[group]

    def tables(self, now: np.ndarray, group: int) -> np.ndarray:
        """P(article | cluster, age group, week) [C, A]."""
        weights = now * self.taste * self.age_fit[group]
        return weights / weights.sum(axis=1, keepdims=True)


def draw(rng: np.random.Generator, articles: catalogue.Catalogue, days: int) -> Truth:
    """Draws the truth about `articles` for data of `days` days."""
    count = len(articles.price)
    types = np.array([row[5:8] for row in catalogue.PRODUCT_TYPES])
    log_appeal = types[articles.product_type, 0]
    log_appeal = log_appeal + np.array([row[4] for row in catalogue.COLOURS])[articles.colour]
    log_appeal += np.array([row[2] for row in catalogue.APPEARANCES])[articles.appearance]
    log_appeal += rng.normal(0, APPEAL_SPREAD["department"], articles.department.max() + 1)[
        articles.department
    ]
    log_appeal += rng.normal(0, APPEAL_SPREAD["product"], count)[_product(articles)]
    log_appeal += rng.normal(0, APPEAL_SPREAD["own"], count)
    cluster_age = rng.permutation(np.linspace(19, 64, CLUSTERS)) + rng.normal(0, 2, CLUSTERS)
    evergreen = rng.random(count) < 0.3
    return Truth(
        appeal=np.exp(log_appeal),
        taste=_taste(rng, articles),
        age_fit=_age_fit(rng, articles),
        launch=np.where(rng.random(count) < 0.55, -rng.uniform(0, 400, count), rng.uniform(0, days, count)),
        life=np.where(evergreen, np.inf, np.exp(rng.normal(np.log(220), 0.5, count))),
        season_peak=(types[articles.product_type, 1] - 0.5) * DAYS_A_YEAR / 12 + rng.normal(0, 15, count),
        season_strength=types[articles.product_type, 2],
        cluster_age=cluster_age,
    )


def _product(articles: catalogue.Catalogue) -> np.ndarray:
    """Number of each article's product [A]."""
    return np.unique(articles.table["product_code"].to_numpy(zero_copy_only=False), return_inverse=True)[1]


def _taste(rng: np.random.Generator, articles: catalogue.Catalogue) -> np.ndarray:
    """Taste [C, A]: each cluster's liking of attributes, of a style that only ids tell, and of a price."""
    masters = catalogue.colour_masters()
    attributes = {
        "index": articles.index,
        "section": articles.section,
        "product_type": articles.product_type,
        "garment_group": articles.garment_group,
        "colour": masters[articles.colour],
        "appearance": articles.appearance,
    }
    result = np.zeros((CLUSTERS, len(articles.price)))
    for name, codes in attributes.items():
        liking = rng.normal(0, TASTE_SPREAD[name], (CLUSTERS, codes.max() + 1))
        result += liking[:, codes]
    style = rng.normal(0, TASTE_SPREAD["style"] / np.sqrt(STYLE_DIMENSIONS), (CLUSTERS, STYLE_DIMENSIONS))
    of_product = rng.normal(0, 1, (len(articles.price), STYLE_DIMENSIONS))[_product(articles)]
    result += style @ of_product.T
    log_price = np.log(articles.price)
    level = rng.normal(log_price.mean(), 0.4, (CLUSTERS, 1))
    result -= (log_price - level) ** 2 / (2 * PRICE_WIDTH**2)
    return np.exp(result)


def _age_fit(rng: np.random.Generator, articles: catalogue.Catalogue) -> np.ndarray:
    """Age fit [G, A]: each department is made for an age, and each article a little off it."""
    by_group = np.array([40.0, 22.0, 36.0, 34.0, 29.0])[articles.index_group]
    made_for = by_group + rng.normal(0, 9, articles.department.max() + 1)[articles.department]
    made_for = made_for + rng.normal(0, 4, len(by_group))
    return np.exp(-((GROUP_AGES[:, None] - made_for) ** 2) / (2 * AGE_WIDTH**2))


def age_group(ages: np.ndarray) -> np.ndarray:
    """Number of the age group of each age."""
    return np.searchsorted([bound for bound, _ in schema.AGE_GROUPS], ages)


@dataclass(frozen=True)
class Mixtures:
    """cluster [N, 4] and share [N, 4] (rows sum to 1, unused places are 0) of N customers."""

    cluster: np.ndarray
    share: np.ndarray

    def pick(self, rng: np.random.Generator, customers: np.ndarray) -> np.ndarray:
        """One cluster for each of the customers, drawn from their mixtures."""
        bounds = np.cumsum(self.share[customers], axis=1)
        place = (rng.random((len(customers), 1)) * bounds[:, -1:] >= bounds).sum(axis=1)
        return self.cluster[customers, np.minimum(place, self.cluster.shape[1] - 1)]

    def dense(self, customers: np.ndarray) -> np.ndarray:
        """Mixture [len(customers), C]."""
        result = np.zeros((len(customers), CLUSTERS))
        np.add.at(
            result, (np.arange(len(customers))[:, None], self.cluster[customers]), self.share[customers]
        )
        return result


def draw_mixtures(rng: np.random.Generator, truth: Truth, ages: np.ndarray) -> Mixtures:
    """Clusters of each customer; those made for another age are rarer."""
    most = len(CLUSTERS_A_CUSTOMER)
    years = np.arange(120)
    fit = np.exp(-((years[:, None] - truth.cluster_age) ** 2) / (2 * CUSTOMER_AGE_WIDTH**2)) + 0.02
    bounds = np.cumsum(fit, axis=1)
    bounds /= bounds[:, -1:]
    at = bounds[ages.astype(int)]
    cluster = np.empty((len(ages), most), dtype=np.int16)
    for place in range(most):
        cluster[:, place] = (rng.random((len(ages), 1)) >= at).sum(axis=1)
    used = np.arange(most) < rng.choice(np.arange(1, most + 1), size=(len(ages), 1), p=CLUSTERS_A_CUSTOMER)
    share = rng.gamma(1.5, size=cluster.shape) * used
    return Mixtures(cluster, share / share.sum(axis=1, keepdims=True))


def best(
    truth: Truth,
    mixtures: Mixtures,
    now: np.ndarray,
    group: int,
    customers: np.ndarray,
    bought: list[np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k most probable articles [customers, k] of customers of one age group, and their probabilities.

    `bought[i]` are the articles that are not to be recommended to customers[i]; the rest is not rescaled.
    """
    probability = mixtures.dense(customers) @ truth.tables(now, group)
    for row, articles in enumerate(bought):
        probability[row, articles] = -1.0
    top = np.argpartition(-probability, k - 1, axis=1)[:, :k]
    values = np.take_along_axis(probability, top, axis=1)
    order = np.lexsort((top, -values), axis=1)
    return np.take_along_axis(top, order, axis=1), np.take_along_axis(values, order, axis=1)
