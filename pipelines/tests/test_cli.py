"""The command line: exit codes, one line on stderr, and the options of each step."""

import subprocess
import sys

import pytest

from hemline import cli


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
