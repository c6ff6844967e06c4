"""What `hemline smoke --ranker llm` checks beside what every ranker is held to."""

from typing import TYPE_CHECKING

from hemline.llm import LLM_RANKING, RANKING, LlmPair, defaults, outcomes

if TYPE_CHECKING:
    from hemline.smoke import Smoke

MOST_SCORED = 20
UNKNOWN_RANKER = "nobodys-ranker"


def check(checks: "Smoke", pair: LlmPair) -> None:
    """Every check, in order."""

    def scored() -> str:
        (prediction,) = checks.ask(checks.instance())
        assert prediction["ranker"] == LLM_RANKING, f"ranked by {prediction['ranker']}"
        assert "degraded" not in prediction, f"degraded: {prediction['degraded']}"
        first = [score for score, _ in prediction["ranking"][:MOST_SCORED]]
        count = prediction.get("scored", len(prediction["ranking"]))
        assert count == len(first), f"{count} scored instead of {len(first)}"
        assert all(0 <= score <= 1 for score in first), f"not all in 0..1: {first}"
        assert len(set(first)) > 1, f"one constant score: {first[0]}"
        return f"{count} candidates by {len(set(first))} different scores"

    def switched() -> str:
        (prediction,) = checks.ask(checks.instance(ranker=RANKING))
        assert prediction["ranker"] == RANKING, f"ranked by {prediction['ranker']}"
        (by_llm,) = checks.ask(checks.instance())
        assert len(prediction["ranking"]) == len(by_llm["ranking"]), "not as many articles"
        return "predictor-gbdt, by `ranker` in the request: as many articles"

    def refused() -> str:
        envelope = checks.ask(checks.instance(ranker=UNKNOWN_RANKER), status=400)
        names = [name for name in (RANKING, LLM_RANKING) if name not in envelope["error"]]
        assert not names, f"says not that there is {names}: {envelope['error']}"
        return f"400 {envelope['code']}: {envelope['error']}"

    def explained() -> str:
        answer = pair.explain(checks.instance(k=1))
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        (explanation,) = answer.json()["explanations"]
        (article,) = explanation["articles"]
        assert explanation["ranker"] == LLM_RANKING, f"explained by {explanation['ranker']}"
        assert article["explanation"], f"says nothing of {article['article_id']}"
        return article["explanation"]

    def answered() -> str:
        counted = outcomes(pair.predictor)
        total, failed = sum(counted.values()), defaults(counted)
        assert failed < total, f"no usable answer at all: {counted}"
        return f"{total:.0f} candidates scored, {failed:.0f} of them by default ({failed / total:.1%})"

    checks.check("scores of the LLM", scored)
    checks.check("the other ranker", switched)
    checks.check("a ranker that is none", refused)
    checks.check("explain", explained)
    checks.check("answers of the LLM", answered)
