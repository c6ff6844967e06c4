"""The examples of the API in docs/ and README.md: typed as they stand, answered as they say."""

import json
import re
import shlex
import shutil
import subprocess
from itertools import takewhile
from pathlib import Path

import pytest
from outfits import events
from scripted_stylist import ScriptedStylist, end, item
from stores import TestStore

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
# What is read elsewhere: diagrams by people; commands, and the values that they name, by the cluster's tests.
NO_EXAMPLES = {"", "mermaid", "yaml"}
SECONDS = 60
LEFT_OUT = "…"
# The values of these are the same on every bundle; of others the keys and types are compared.
ALWAYS = {
    "accepted",
    "repeated",
    "error",
    "code",
    "name",
    "datatype",
    "ranker",
    "ready",
    "cold_start",
    "short",
    "step",
}


def examples(page: Path) -> list[tuple[str, str]]:
    """The commands of a page and the answers that it shows."""
    blocks = [text for kind, text in BLOCK.findall(page.read_text()) if kind == "console"]
    return [command_and_answer(typed) for text in blocks for typed in re.split(r"^\$ ", text, flags=re.M)[1:]]


def command_and_answer(typed: str) -> tuple[str, str]:
    """A command ends with the line in which its last quotation does."""
    lines = typed.splitlines()
    end = 1 + len(list(takewhile(lambda count: not is_whole("\n".join(lines[:count])), range(1, len(lines)))))
    return "\n".join(lines[:end]), "\n".join(lines[end:])


def is_whole(command: str) -> bool:
    """Whether a shell would run it and not ask for more."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


@pytest.fixture(scope="module")
def real(under_test, catalogue, tmp_path_factory):
    """Makes what is typed a command for a pair, about a customer that training knew and real articles."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    folder = tmp_path_factory.mktemp("docs")
    customer, _ = (str(catalogue.customer_ids[row]) for row in catalogue.buyers(2))
    articles = {}
    store = TestStore.sqlite(folder / "store.db")
    store.know({customer: 34.0})
    store.buy(customer, [str(article) for article in catalogue.article_ids[-3:]])
    with (
        ScriptedStylist(one_dress) as llm,
        under_test.pair(folder, store=store.url, transformer_args=["--stylist-host", llm.host]) as pair,
    ):

        def translate(command: str) -> str:
            for place, server in (("localhost:8080", pair.transformer), ("localhost:8085", pair.predictor)):
                command = command.replace(place, server.url.removeprefix("http://"))

            def article(found: re.Match) -> str:
                return articles.setdefault(found[0], str(catalogue.article_ids[len(articles)]))

            return re.sub(r"\b0\d{9}\b", article, command).replace(f'"{LEFT_OUT}"', f'"{customer}"')

        yield translate


def one_dress(_body: dict):
    """What the LLM writes, whatever is asked."""
    yield item(0, "👗", "Dress", "light maxi dress in airy viscose")
    yield from end(1)


@pytest.mark.parametrize("page", list(filter(examples, PAGES)), ids=lambda page: page.name)
def test_each_example_is_answered_as_the_page_says(real, page):
    for command, shown in examples(page):
        shell = ["bash", "-eu", "-o", "pipefail", "-c", real(command)]
        done = subprocess.run(shell, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        differs = difference(*map(parsed, (shown, done.stdout)))
        assert not differs, f"{page.name}: {command}\n{differs}\nanswered: {done.stdout}"


def test_nothing_that_looks_like_an_example_is_left_out():
    assert sum(len(examples(page)) for page in PAGES) >= 15
    for page in PAGES:
        for kind, text in BLOCK.findall(page.read_text()):
            assert kind in NO_EXAMPLES | {"console"}, f"{page.name}: a block of {kind} that nothing runs"
            assert kind == "console" or page.name == "deploy.md" or "localhost:" not in text, page.name


def parsed(text: str) -> object:
    """An answer: JSON, or the events of a stream with their names."""
    if not text.startswith("event:"):
        return told(text)
    return [list(event) for event in events(iter(text.splitlines()))]


def told(shown: str) -> object:
    """An answer as a page shows it; what was left out becomes an item, or a member, of that name."""
    shown = re.sub(rf", {LEFT_OUT}(?=\s*\}})", f', "{LEFT_OUT}": null', shown)
    return json.loads(re.sub(rf"(?<=[,\[]) ?{LEFT_OUT}(?=\s*\])", f' "{LEFT_OUT}"', shown))


def difference(shown: object, answered: object, where: str = "answer", name: str = "") -> str:
    """Where an answer is not what was shown; nothing where it is."""
    if isinstance(shown, dict) and isinstance(answered, dict):
        wanted = set(shown) - {LEFT_OUT}
        if not wanted <= set(answered) or (LEFT_OUT not in shown and wanted != set(answered)):
            return f"{where}: {sorted(wanted)} are shown, {sorted(answered)} answered"
        found = (difference(shown[key], answered[key], f"{where}.{key}", key) for key in sorted(wanted))
        return next(filter(None, found), "")
    if isinstance(shown, list) and isinstance(answered, list):
        wanted = [item for item in shown if item != LEFT_OUT]
        if len(wanted) > len(answered) or (wanted == shown and len(wanted) != len(answered)):
            return f"{where}: {len(wanted)} items are shown, {len(answered)} answered"
        pairs = enumerate(zip(wanted, answered, strict=False))
        return next(filter(None, (difference(*pair, f"{where}[{i}]") for i, pair in pairs)), "")
    kinds = [float if type(value) is int else type(value) for value in (shown, answered)]
    begins, cut, _ = str(shown).partition(LEFT_OUT)
    same = str(answered).startswith(begins) if cut else shown == answered
    if kinds[0] is not kinds[1] or (name in ALWAYS and not same):
        return f"{where}: {shown!r} is shown, {answered!r} answered"
    return ""
