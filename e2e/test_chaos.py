"""All behind the transformer is killed and restored under load: no failures, full lists, in time, and told.

A deadline is kept at the server. What its caller measures has also the way there and back, on a machine that
all servers and callers share: MARGIN_SECONDS.
"""

import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from most_sold import MostSold
from test_store import eventually

from hemline.pair import MODEL, Pair
from hemline.postgres_server import free_port

DEADLINE_SECONDS = 2.0
MARGIN_SECONDS = 0.5
THREADS = 4
RETRIEVAL = ("retrieval", None)
RANKERS = {RANKING := "ranking", LLM := "llmranking"}
# So many answers say that an outage is felt, or is over.
ENOUGH = 40


class ScriptedLlmProcess:
    """The scripted LLM as a process that can be killed; it comes back on the same port."""

    def __init__(self) -> None:
        """Starts it."""
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """Where it listens, as --llm-url takes it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Starts it, once more where it was killed."""
        program = Path(__file__).with_name("scripted_llm.py")
        self.process = subprocess.Popen(
            [sys.executable, program, str(self.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()


class LlmRanker:
    """predictor-llm, which can be killed too."""

    def __init__(self, under_test, logs: Path, llm_url: str) -> None:
        """Starts it."""
        self.port, self.starts = free_port(), 0
        self.under_test, self.logs, self.llm_url = under_test, logs, llm_url
        self.start()

    def start(self) -> None:
        """Starts it, once more where it was killed. It remembers nothing: the LLM is missed at once."""
        self.starts += 1
        log = self.logs / f"predictor-llm.{self.starts}.log"
        self.server = self.under_test.predictor_llm(
            log, self.llm_url, "listwise", "--cache-entries=0", port=self.port
        )

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.server.kill()


class Load:
    """Threads that ask until they are stopped, and what is wrong with what they were told."""

    def __init__(self, url: str, questions: list[dict]) -> None:
        """Starts them."""
        self.url, self.questions = url, questions
        self.stopped, self.lock = threading.Event(), threading.Lock()
        self.counted: Counter = Counter()
        self.recent: deque = deque(maxlen=ENOUGH)
        self.answers, self.slowest = 0, 0.0
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Stops them."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def ask(self) -> None:
        """Asks one question after the other."""
        path, patience = f"/v1/models/{MODEL}:predict", 10 * DEADLINE_SECONDS
        with httpx.Client(base_url=self.url, timeout=patience) as http:
            while not self.stopped.is_set():
                question = random.choice(self.questions)
                begun = time.monotonic()
                answer = http.post(path, json={"instances": [question]})
                self.look_at(answer, question["k"], time.monotonic() - begun)

    def look_at(self, answer: httpx.Response, k: int, took: float) -> None:
        """Keeps what it says, and what is wrong with it."""
        if answer.status_code != 200:
            with self.lock:
                self.wrong.append(f"{answer.status_code}: {answer.text}")
            return
        (prediction,) = answer.json()["predictions"]
        articles = {article for _, article in prediction["ranking"]}
        why = told_as(prediction)
        with self.lock:
            self.answers += 1
            self.slowest = max(self.slowest, took)
            self.recent.append(why)
            if why:
                self.counted[why] += 1
            if len(articles) != k or len(prediction["ranking"]) != k:
                self.wrong.append(f"{len(articles)} articles of {k}: {prediction.get('degraded')}")
            if took > DEADLINE_SECONDS + MARGIN_SECONDS:
                self.wrong.append(f"{took:.2f} s: {prediction.get('degraded')}")

    def felt(self, rung: str, reason: str | None = None) -> int:
        """How many answers came of a rung, for this reason or any."""
        with self.lock:
            found = self.counted.items()
            return sum(count for (own, why), count in found if own == rung and reason in (None, why))

    def is_well(self) -> bool:
        """Whether the last answers lack nothing."""
        with self.lock:
            return len(self.recent) == ENOUGH and not any(self.recent)


def told_as(prediction: dict) -> tuple[str, str] | None:
    """The rung and the reason that an answer tells of; nothing where it is as good as any."""
    if "degraded" not in prediction:
        return None
    parts = [part.partition(": ")[::2] for part in prediction["degraded"].split("; ")]
    if parts[-1][0] in ("retrieval", "popularity"):
        return parts[-1][0], parts[-2][1]
    who = prediction["ranker"]
    failed = [why for name, why in parts if name in RANKERS - {who}]
    if failed:
        return "fallback", failed[-1]
    return "ranker", "defaults" if who in dict(parts) else "store"


def each(actions: Iterable[Callable[[], object]]) -> None:
    """One after the other."""
    for action in actions:
        action()


def counted_by(server_url: str, name: str) -> Counter:
    """A metric's counts by the values of its labels, in the order of these."""
    text = httpx.get(f"{server_url}/metrics", timeout=10).text
    lines = re.findall(rf"^{name}{{(.*)}} (\d+)$", text, re.MULTILINE)
    return Counter({tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels))): int(n) for labels, n in lines})


@pytest.fixture
def llm() -> Iterator[ScriptedLlmProcess]:
    """The scripted LLM."""
    llm = ScriptedLlmProcess()
    yield llm
    llm.kill()


@pytest.fixture
def llm_ranker(under_test, llm, tmp_path) -> Iterator[LlmRanker]:
    """predictor-llm over it, ready."""
    ranker = LlmRanker(under_test, tmp_path, llm.url)
    try:
        ranker.server.wait_ready()
        yield ranker
    finally:
        ranker.kill()


@pytest.fixture
def chaotic(under_test, llm_ranker, away, tmp_path) -> Iterator[Pair]:
    """The pair over PostgreSQL: half of the customers have the LLM's ranker, and trees stand in for it."""
    flags = [
        f"--deadline-ms={DEADLINE_SECONDS * 1000:.0f}",
        "--on-ranker-failure=degrade",
        "--on-store-failure=degrade",
        f"--ranker={LLM}=http://127.0.0.1:{llm_ranker.port}",
        f"--active-ranker={RANKING}=1,{LLM}=1",
        f"--fallback-rankers={RANKING}",
    ]
    bundle = MostSold(under_test, tmp_path / "bundle").bundle
    with under_test.pair(tmp_path, bundle=bundle, store=away.url, transformer_args=flags) as pair:
        yield pair


def test_whatever_is_killed_and_restored_every_answer_is_full_in_time_and_told(
    chaotic, llm_ranker, llm, away, catalogue
):
    ages = {f"customer-{number}": 16.0 + number % 60 for number in range(200)}
    away.know(ages)
    away.buy("customer-7", [str(article) for article in catalogue.article_ids[:20]])
    questions = [
        {"customer_id": name, "transaction_date": catalogue.date, "k": 1 + number % 100}
        for number, name in enumerate(ages)
    ]
    port = int(chaotic.predictor.url.rpartition(":")[2])
    # Who is killed, how they come back, and the rung and reason of answers meanwhile.
    outages = {
        "predictor": (lambda: chaotic.predictor.kill(), lambda: chaotic.start_predictor(port), RETRIEVAL),
        "store": (away.server.kill, away.server.start, ("ranker", "store")),
        "LLM": (llm.kill, llm.start, ("ranker", "defaults")),
        "predictor-llm": (llm_ranker.kill, llm_ranker.start, ("fallback", None)),
    }
    kills, restorations, _ = zip(*outages.values(), strict=True)
    outages["all of them"] = (partial(each, kills), partial(each, restorations), RETRIEVAL)
    load = Load(chaotic.transformer.url, questions)
    try:
        assert eventually(load.is_well), "all is well at first"
        for name, (kill, restore, rung) in outages.items():
            before = load.felt(*rung)
            kill()
            assert eventually(lambda: load.felt(*rung) >= before + ENOUGH), f"{name} is missed"  # noqa: B023
            restore()
            assert eventually(load.is_well), f"{name} is back"
    finally:
        load.stop()
    print(f"{load.answers} answers, the slowest after {load.slowest:.2f} s; {dict(load.counted)}")
    assert load.wrong == []
    url = chaotic.transformer.url
    counted = counted_by(url, "degraded_answers_total")
    told = {(("reason", reason), ("rung", rung)): count for (rung, reason), count in load.counted.items()}
    assert counted == told, "what is told is what is counted"
    assert counted_by(url, "ranker_answers_total").total() == load.answers
