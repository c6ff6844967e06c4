"""The whole way of an outfit with a real language model, however small.

What the model writes is not judged here. It must be read and told as it comes, for the customer who asks.
"""

import pytest
from outfits import Stylist

from hemline.llm import GBDT, LISTWISE, Api

# A model that computes on all cores has no time to spare.
pytestmark = pytest.mark.alone
REQUEST = "Similar to what I bought last month, but lighter"


@pytest.fixture(scope="module")
def stylist(under_test, tmp_path_factory):
    """The transformer before predictor-llm before the small model, which starts with them."""
    logs = tmp_path_factory.mktemp("stylist")
    rankers = {"ranking": GBDT, "llmranking": LISTWISE}
    arguments = ["--self-test=warn"]
    with under_test.llm_pair(logs, Api(slots=1), rankers=rankers, llm_args=arguments, stylist=True) as pair:
        yield Stylist(pair.transformer)


def articles(outfit: dict) -> list[str]:
    """Ids of all articles of an outfit."""
    return [article_id for item in outfit["items"] for _, article_id in item["articles"]]


def test_two_customers_who_bought_other_things_get_other_articles_and_see_by_what(stylist, catalogue):
    questions = [catalogue.instance(customer, k=5) for customer in catalogue.buyers(2)]
    outfits = [stylist.prediction(request=REQUEST, gender="women", **question) for question in questions]
    for outfit in outfits:
        assert "degraded" not in outfit
        assert outfit["llm"]
        assert outfit["profile"]["purchases"]
        found = articles(outfit)
        assert len(found) == len(set(found)) == 5 * len(outfit["items"])
    bought = [{one["article_id"] for one in outfit["profile"]["purchases"]} for outfit in outfits]
    assert bought[0] != bought[1]
    own, others = (set(articles(outfit)) for outfit in outfits)
    assert len(own & others) < min(len(own), len(others)) / 2


def test_its_stream_tells_what_an_answer_has(stylist):
    told = stylist.stream("A week at the beach", gender="women", k=3)
    names = [name for name, _ in told]
    assert names[0] == "profile"
    assert names[-2:] == ["summary", "done"]
    assert set(names[1:-2]) == {"item"}
    items = [data for name, data in told if name == "item"]
    assert [item["index"] for item in items] == list(range(len(items)))
    assert all(item["description"] and len(item["articles"]) == 3 for item in items)
    assert "degraded" not in told[-1][1]
