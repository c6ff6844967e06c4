"""What the servers do is what their OpenAPI documents say, whatever they are asked."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

EXAMPLES = 30
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def document(served):
    """The document of each server."""
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


def test_the_document_has_the_protocols_paths(served, document):
    paths = set(document.raw_schema["paths"])
    assert {"/v2", "/v2/health/live", "/v2/health/ready", "/metrics"} <= paths
    assert any(path.endswith(":predict") for path in paths)
    assert any(path.endswith("/infer") for path in paths)


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_a_documented_one(document, mode, subtests):
    for found in document.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not takes_something(operation):
            continue
        with subtests.test(operation.label):
            explore(operation, mode)


def takes_something(operation: APIOperation) -> bool:
    """Whether there is anything to get wrong."""
    return bool([*operation.iter_parameters(), *operation.body])


def explore(operation: APIOperation, mode: GenerationMode) -> None:
    """Asks one operation with good or with bad examples."""

    # The same examples in every run: what fails here fails everywhere.
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case) -> None:
        case.call_and_validate(checks=CHECKS)

    ask()
