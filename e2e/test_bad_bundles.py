"""A bundle that is not what its manifest says is refused at start: exit 64, one line, the file's name."""

import json
import re

import numpy as np
import pytest
from under_test import refusal, replace, shadow, sign, without

from hemline import bundle as bundles
from hemline import embeddings
from hemline.pair import PREDICTOR, TRANSFORMER

USES = {
    TRANSFORMER: [bundles.QUERY_TOWER, bundles.CUSTOMERS, bundles.ARTICLES, bundles.INDEX],
    PREDICTOR: [bundles.RANKER, bundles.ENCODED_RANKER, bundles.CONTRIBUTIONS],
}
EACH = [(program, file) for program, files in USES.items() for file in files]
OTHERS = {PREDICTOR: USES[TRANSFORMER], TRANSFORMER: USES[PREDICTOR]}


@pytest.fixture
def copy(under_test, tmp_path):
    """A bundle to damage."""
    return shadow(under_test.bundle, tmp_path / "bundle")


@pytest.fixture
def start(under_test):
    """Starts a program on a bundle that it must refuse; what it said."""

    def start(program: str, bundle) -> str:
        return refusal(under_test, program, f"--model_dir={bundle}")

    return start


def damaged(content: bytes) -> bytes:
    """The same with a byte in the middle flipped."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


@pytest.mark.parametrize(("program", "file"), EACH)
def test_a_flipped_byte_is_refused(start, copy, under_test, program, file):
    replace(copy, file, damaged((under_test.bundle / file).read_bytes()))
    line = start(program, copy)
    assert file in line
    assert re.search("sha-?256|checksum", line, re.IGNORECASE)


@pytest.mark.parametrize(("program", "file"), EACH)
def test_a_missing_file_is_refused(start, copy, program, file):
    (copy / file).unlink()
    assert file in start(program, copy)


@pytest.mark.parametrize(("program", "file"), EACH)
def test_a_file_that_is_cut_off_is_refused(start, copy, under_test, program, file):
    content = (under_test.bundle / file).read_bytes()
    replace(copy, file, content[: len(content) // 2])
    line = start(program, copy)
    assert file in line
    assert str(len(content)) in line


@pytest.mark.parametrize("keep", [0, 1, 7, 64, 1000, "half", "most"])
@pytest.mark.parametrize(("program", "file"), EACH)
def test_a_file_that_is_cut_off_is_refused_even_where_the_manifest_agrees(
    start, copy, under_test, program, file, keep
):
    content = (under_test.bundle / file).read_bytes()
    kept = {"half": len(content) // 2, "most": len(content) - 1}.get(keep, keep)
    replace(copy, file, content[:kept])
    sign(copy)
    assert file in start(program, copy)


@pytest.mark.parametrize(("program", "file"), EACH)
def test_a_file_of_something_else_is_refused_even_where_the_manifest_agrees(start, copy, program, file):
    replace(copy, file, b"This is a note about the bundle. " * 100)
    sign(copy)
    assert file in start(program, copy)


# Without contributions a ranker serves and does not explain; without the other graph it takes plain features.
OPTIONAL = {bundles.CONTRIBUTIONS, bundles.ENCODED_RANKER}


@pytest.mark.parametrize(("program", "file"), [each for each in EACH if each[1] not in OPTIONAL])
def test_a_file_that_the_manifest_does_not_list_is_refused(start, copy, under_test, program, file):
    files = {name: about for name, about in under_test.manifest["files"].items() if name != file}
    replace(copy, bundles.MANIFEST, json.dumps(under_test.manifest | {"files": files}).encode())
    line = start(program, copy)
    assert file in line
    assert bundles.MANIFEST in line


@pytest.mark.parametrize("program", USES)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not JSON", []),
        (b"", []),
        (b"[]", []),
        (b'{"version": "1"}', ["schema_version"]),
        (b'{"schema_version": 1}', ["missing field"]),
        (b'{"schema_version": 2}', ["schema version 2", "1"]),
        (b'{"schema_version": "1"}', []),
    ],
)
def test_a_manifest_that_is_none_is_refused(start, copy, program, content, words):
    replace(copy, bundles.MANIFEST, content)
    line = start(program, copy)
    assert all(word in line for word in [bundles.MANIFEST, *words]), line


@pytest.mark.parametrize("program", USES)
def test_a_bundle_without_a_manifest_is_refused(start, copy, program):
    (copy / bundles.MANIFEST).unlink()
    # A predictor also takes a folder with a model.onnx, which this is not either.
    assert (bundles.MANIFEST if program == TRANSFORMER else "model.onnx") in start(program, copy)


@pytest.mark.parametrize("program", USES)
def test_a_bundle_that_is_not_there_is_refused(start, tmp_path, program):
    assert str(tmp_path / "nowhere") in start(program, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("count", "file"), [("articles", bundles.ARTICLES), ("customers", bundles.CUSTOMERS)]
)
def test_counts_that_do_not_match_are_refused(start, copy, under_test, count, file):
    wrong = under_test.manifest["counts"][count] + 1
    sign(copy, counts=under_test.manifest["counts"] | {count: wrong})
    line = start(TRANSFORMER, copy)
    assert file in line
    assert str(wrong) in line


def test_an_index_over_fewer_articles_is_refused(start, copy, under_test):
    few = np.eye(under_test.manifest["retrieval"]["embedding_size"], dtype=np.float32)
    path = copy / bundles.INDEX
    path.unlink()
    embeddings.build_index(few).save(str(path))
    sign(copy)
    assert bundles.INDEX in start(TRANSFORMER, copy)


def test_another_embedding_size_is_refused(start, copy, under_test):
    size = under_test.manifest["retrieval"]["embedding_size"] * 2
    sign(copy, retrieval=under_test.manifest["retrieval"] | {"embedding_size": size})
    assert "retrieval/" in start(TRANSFORMER, copy)


def test_a_ranker_with_other_features_than_the_manifest_lists_is_refused(start, copy, under_test):
    ranking = under_test.manifest["ranking"]
    sign(without(copy, bundles.CONTRIBUTIONS), ranking=ranking | {"features": ranking["features"][1:]})
    line = start(PREDICTOR, copy)
    assert bundles.RANKER in line
    assert ranking["features"][0]["name"] in line


def test_a_feature_that_no_article_has_is_refused(start, copy, under_test):
    ranking = under_test.manifest["ranking"]
    more = [*ranking["features"], {"name": "shoe_size", "datatype": "BYTES"}]
    sign(copy, ranking=ranking | {"features": more})
    assert "shoe_size" in start(TRANSFORMER, copy)


@pytest.mark.parametrize("program", USES)
def test_files_that_a_program_does_not_use_do_not_stop_it(under_test, copy, tmp_path, servers, program):
    for file in OTHERS[program]:
        (copy / file).unlink()
    if program == PREDICTOR:
        servers.append(under_test.predictor(tmp_path / "log", bundle=copy))
        servers[0].wait_ready()
    else:
        with under_test.pair(tmp_path, bundle=copy, predictor_bundle=under_test.bundle):
            pass
