"""The command line: exit codes, one line on stderr, and the options of each step."""

import io
import subprocess
import sys

import pytest
from conftest import rows_of
from rich.console import Console

from hemline import cli, run, schema


def run_main(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["hemline", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code or 0


def test_data_that_cannot_be_used_are_one_line_on_stderr_and_exit_65(monkeypatch, tmp_path, capsys):
    code = run_main(monkeypatch, "features", "--data", str(tmp_path), "--work", str(tmp_path / "work"))
    out, err = capsys.readouterr()
    assert code == 65
    assert out == ""
    assert err == f"hemline: articles.csv: no such file in {tmp_path}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate"],
        ["no-such-step"],
        ["features", "--data", "x"],
        ["generate", "--out", "x", "--size", "huge"],
        ["generate", "--out", "x", "--seed", "-1"],
        ["generate", "--out", "x", "--days", "many"],
    ],
)
def test_wrong_usage_exits_64(monkeypatch, arguments):
    assert run_main(monkeypatch, *arguments) == 64


def test_help_names_every_step(monkeypatch, capsys):
    assert run_main(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    steps = ["generate", "features", "train-retrieval", "train-ranking", "create-embeddings"]
    steps += ["bundle", "evaluate", "load"]
    assert all(step in out for step in steps)


def test_options_reach_the_step(monkeypatch, tmp_path):
    from hemline import generate

    calls = []
    monkeypatch.setattr(generate, "run", lambda *arguments: calls.append(arguments))
    out = tmp_path / "data"
    arguments = ["generate", "--out", str(out), "--size", "tiny", "--days", "56", "--articles", "300"]
    assert run_main(monkeypatch, *arguments) == 0
    assert calls == [(out, "tiny", 42, 300, None, None, 56)]


@pytest.mark.parametrize(("flags", "wanted"), [([], True), (["--no-baselines"], False)])
def test_baselines_are_made_unless_they_are_not_wanted(monkeypatch, tmp_path, flags, wanted):
    from hemline import evaluate

    calls = []
    monkeypatch.setattr(evaluate, "evaluate", lambda *arguments: calls.append(arguments))
    assert run_main(monkeypatch, "evaluate", "--work", str(tmp_path), "--bundle", str(tmp_path), *flags) == 0
    assert calls == [(tmp_path, tmp_path, None, wanted)]


def test_a_fault_of_the_program_is_not_taken_for_bad_data(monkeypatch, tmp_path):
    from hemline import generate

    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(generate, "run", broken)
    monkeypatch.setattr(sys, "argv", ["hemline", "generate", "--out", str(tmp_path)])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_step_does_not_load_the_libraries_of_the_others():
    code = "import sys, hemline.cli; print(sorted({'jax', 'catboost', 'ibis', 'pyarrow'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_smoke_with_a_damaged_manifest_exits_65_before_a_server_starts(
    monkeypatch, tiny_work, tmp_path, capsys
):
    (tmp_path / "manifest.json").write_text("{")
    options = {"--bundle": tmp_path, "--store": "sqlite://x.db", "--work": tiny_work, "--binaries": tmp_path}
    arguments = [str(part) for pair in options.items() for part in pair]
    assert run_main(monkeypatch, "smoke", *arguments) == 65
    out, err = capsys.readouterr()
    assert out == ""
    assert "manifest.json" in err
    assert len(err.splitlines()) == 1


def shown(table):
    """A table as people see it."""
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()


def test_a_name_that_looks_like_markup_is_shown_as_it_is():
    article = run.Article("0123456789", "Tee [kids]", "T-shirt [/b]", "Red", "Kids")
    text = shown(run.ranking_table([[0.5, article.article_id]], {article.article_id: article}, by="ranking"))
    assert "Tee [kids]" in text
    assert "T-shirt [/b]" in text


def test_the_customer_who_is_shown_bought_on_the_last_day(tiny_work):
    shop = run.Shop(tiny_work)
    rows = rows_of(tiny_work / schema.TRANSACTIONS)
    last = max(row["t_dat"] for row in rows)
    assert shop.last_day() == str(last)
    customer = shop.customer()
    assert customer in {row["customer_id"] for row in rows if row["t_dat"] == last}
    theirs = {row["article_id"] for row in rows if row["customer_id"] == customer}
    assert sorted(shop.purchases(customer)) == sorted(theirs)
