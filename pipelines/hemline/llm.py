"""Rankers that ask an LLM: predictor-llm behind the transformer, on this machine, predictor-gbdt beside it.

Where no API is named, llama.cpp's server is started with a small model (`hemline.llama_server`).
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from hemline.llama_server import MODEL as SMALL_MODEL
from hemline.llama_server import model_file
from hemline.pair import API_KEY, Pair, Server

LLAMA, PREDICTOR_LLM = "llama.cpp", "predictor-llm"
GBDT, POINTWISE, LISTWISE = "gbdt", "pointwise", "listwise"
RANKING, LLM_RANKING = "ranking", "llmranking"  # the recipe's names of the two rankers
# predictor-llm's metric of what became of each candidate; other outcomes than these are a default 0.
CANDIDATES, SCORED = "llm_candidates_total", ("scored",)
# Of those, the ones where the LLM answered, and its answer was of no use.
UNUSABLE = ("no_marker", "not_a_number", "out_of_range", "refusal", "truncated")
# A small model on a few cores needs seconds for what a large one on a GPU does in a fraction of one.
REQUEST_SECONDS = 120
MARGIN_SECONDS = 2  # each is given less than what asks it, so that the one behind is the one who says why


@dataclass(frozen=True)
class Api:
    """An OpenAI-compatible API and the model to ask for; without a URL, the small model of this machine.

    The API's key, where it wants one, is in the environment: LLM_API_KEY.
    """

    url: str | None = None
    model: str | None = None
    # Of the small model's server: what is computed at once, and whether prefixes are computed once only.
    slots: int = 4
    prefix_cache: bool = True

    @property
    def is_local(self) -> bool:
        """Whether it is the small model."""
        return self.url is None

    @property
    def name(self) -> str:
        """What to call the model."""
        return self.model or (SMALL_MODEL if self.is_local else "the API's first model")


@dataclass(frozen=True)
class LlmRanker:
    """The LLM that `run` and `smoke` are asked for: a ranker, and who writes the stylist's outfits."""

    api: Api
    strategy: str
    leads: bool = True  # whether it ranks where a request names no ranker


def llama_arguments(api: Api) -> list[str]:
    """How this Python is told to be the small model's server. Raises DataError without the wheels."""
    model_file()
    cache = "--prefix-cache" if api.prefix_cache else "--no-prefix-cache"
    return ["-m", "hemline.llama_server", f"--parent={os.getpid()}", f"--slots={api.slots}", cache]


def start_llama(api: Api, log: Path) -> Server:
    """The small model's server, by itself. Raises DataError where its wheels are not installed."""
    return Server(LLAMA, Path(sys.executable), llama_arguments(api), log)


def predictor_arguments(api: Api, url: str, strategy: str) -> list[str]:
    """How predictor-llm is told whom to ask, and how."""
    seconds = REQUEST_SECONDS - 2 * MARGIN_SECONDS
    model = [f"--llm-model={api.model}"] if api.model else []
    # More calls at once than the server computes at once would only wait there, where nobody sees it.
    at_once = [f"--concurrency={api.slots}"] if api.is_local else []
    return [
        f"--llm-url={url}",
        f"--strategy={strategy}",
        f"--request-timeout={seconds}s",
        f"--llm-timeout={seconds}s",
        *model,
        *at_once,
    ]


class LlmPair(Pair):
    """The transformer over several rankers, each by its name; the first is asked where a request names none.

    A ranker is `GBDT`, or predictor-llm by its strategy. `llm_args` are for each predictor-llm; with
    `stylist` the first of them writes outfits too.
    """

    patience = REQUEST_SECONDS + MARGIN_SECONDS

    def __init__(
        self,
        *where: object,
        api: Api,
        rankers: Mapping[str, str],
        llm_args: Sequence[str] = (),
        stylist: bool = False,
        **more: object,
    ) -> None:
        super().__init__(*where, **more)
        self._api, self._kinds, self._llm_args, self._stylist = api, dict(rankers), llm_args, stylist
        self.rankers: dict[str, Server] = {}

    @property
    def predictor(self) -> Server:
        """The default ranker."""
        return next(iter(self.rankers.values()))

    @property
    def llm(self) -> Server:
        """The first predictor-llm."""
        return next(self.rankers[name] for name, kind in self._kinds.items() if kind != GBDT)

    def start_predictors(self) -> None:
        """Starts the LLM where none is named, then every ranker; ready are they together."""
        url = self._api.url
        if self._api.is_local and set(self._kinds.values()) - {GBDT}:
            url = self._spawn(LLAMA, Path(sys.executable), llama_arguments(self._api)).url
        port = self._predictor_port
        for name, kind in self._kinds.items():
            self.rankers[name] = self.start_predictor(port) if kind == GBDT else self._ask(url, kind, port)
            port = 0
        for server in self.rankers.values():
            server.wait_ready()

    def behind(self) -> list[str]:
        """The rankers by name, and time enough for the slowest."""
        first, *others = self.rankers
        return [
            *super().behind(),
            f"--ranking-model-type={first}",
            *(f"--ranker={name}={self.rankers[name].url}" for name in others),
            f"--request-timeout={REQUEST_SECONDS}s",
            f"--predictor-request-timeout-seconds={REQUEST_SECONDS - MARGIN_SECONDS}s",
            *([f"--stylist-host={self.llm.url}"] if self._stylist else []),
        ]

    def check_alive(self) -> None:
        """Raises PairError where one of the servers has ended."""
        for server in self.servers:
            server.check_alive()

    def _ask(self, url: str, strategy: str, port: int) -> Server:
        key = {API_KEY: os.environ[API_KEY]} if os.environ.get(API_KEY) else {}
        arguments = [*predictor_arguments(self._api, url, strategy), *self._llm_args]
        return self._start(PREDICTOR_LLM, port, arguments, key)


def pair_of(
    bundle: Path, store: str, binaries: Path, ports: tuple[int, int], logs: Path, llm: LlmRanker | None
) -> Pair:
    """The pair that `run` and `smoke` start: the recipe's `ranking`, with `llmranking` beside or before it.

    Who may ask it is who is on this machine, so it tells of customers.
    """
    told = {"logs": logs, "transformer_args": ["--customer-search=true"]}
    if llm is None:
        return Pair(bundle, store, binaries, *ports, **told)
    rankers = {RANKING: GBDT, LLM_RANKING: llm.strategy}
    order = reversed(rankers) if llm.leads else rankers
    rankers = {name: rankers[name] for name in order}
    return LlmPair(bundle, store, binaries, *ports, **told, api=llm.api, rankers=rankers, stylist=True)


def counters(server: Server) -> dict[str, float]:
    """What a server's metrics count now, by name with labels, as Prometheus writes it: `name{label="…"}`."""
    lines = httpx.get(f"{server.url}/metrics", timeout=10).text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def outcomes(predictor: Server) -> dict[str, float]:
    """How many candidates predictor-llm gave a score, or a default and why: by outcome."""
    return labelled(counters(predictor), CANDIDATES, "outcome")


def defaults(counted: dict[str, float]) -> float:
    """How many of them got a default."""
    return sum(count for outcome, count in counted.items() if outcome not in SCORED)


def labelled(counted: dict[str, float], name: str, label: str) -> dict[str, float]:
    """Of one metric, what was counted by the value of its only label."""
    prefix = f'{name}{{{label}="'
    return {key.removeprefix(prefix)[:-2]: value for key, value in counted.items() if key.startswith(prefix)}
