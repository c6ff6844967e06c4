"""Values of the releases that the tests install."""

from conftest import BUNDLE, REGISTRY, TAG


def image(component: str) -> dict:
    """An image as `make images` names it."""
    return {"registry": REGISTRY, "repository": f"hemline-{component}", "tag": TAG}


def recommender(kind: str = "gbdt", llm_url: str = "", **ranking: object) -> dict:
    """The pair over the bundle's volume and PostgreSQL, its rankers known from the cluster."""
    small = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    return {
        "bundle": {"uri": f"pvc://bundle/{BUNDLE.name}"},
        "store": {"existingSecret": {"name": "store", "key": "url"}},
        "ranking": {"fromCluster": True, **ranking},
        "transformer": {"image": image("transformer"), "resources": small, "settings": {}},
        "predictor": {
            "kind": kind,
            "image": {**image(f"predictor-{kind}"), "repository": ""},
            "llm": {"url": llm_url, "existingSecret": {"name": "llm", "key": "key"}},
            "resources": small,
        },
    }


def ranker(name: str, kind: str = "gbdt", llm_url: str = "") -> dict:
    """A predictor alone, as a ranker of this name."""
    values = recommender(kind, llm_url)
    values["ranking"] = {}
    return values | {"transformer": {"enabled": False}, "ranker": {"name": name}}
