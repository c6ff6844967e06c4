"""What is measured is read by Prometheus' own parser, which is stricter than most that scrape."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

CLASSIC = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
# What KServe's own servers call it, and what those who scrape beside them look for.
KSERVES = {"request_preprocess_seconds", "request_predict_seconds", "request_postprocess_seconds"}


@pytest.mark.parametrize("accept", [None, CLASSIC, OPENMETRICS, f"{OPENMETRICS},{CLASSIC};q=0.5,*/*;q=0.1"])
def test_every_family_is_typed_and_explained_whatever_a_scraper_accepts(served, accept):
    for path, body in (
        (f"/v1/models/{served.model}:predict", served.v1_body()),
        (f"/v2/models/{served.model}/infer", served.body()),
    ):
        served.post(path, body)
    answer = httpx.get(f"{served.url}/metrics", headers={"accept": accept} if accept else {})
    assert answer.status_code == 200
    # qpext reads this format and no other, and joins it to its own.
    assert answer.headers["content-type"].startswith(CLASSIC)
    assert "# EOF" not in answer.text
    families = list(text_string_to_metric_families(answer.text))
    names = [family.name for family in families]
    assert set(names) >= KSERVES
    assert len(names) == len(set(names)), "a family comes twice"
    for family in families:
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert family.documentation, family.name
        assert family.samples, family.name
