"""What the servers do is what their OpenAPI documents say, whatever they are asked."""

from contextlib import suppress

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, CheckContext, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import Served

EXAMPLES = 30


def no_failure_of_the_server(context: CheckContext, response: Response, case: Case) -> bool | None:
    """No 5xx, but for the one that is KServe's answer for a model without explanations: 501 on `:explain`."""
    if response.status_code == 501 and case.operation.path.endswith(":explain"):
        return None
    return not_a_server_error(context, response, case)


CHECKS = [
    no_failure_of_the_server,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture
def document(served):
    """The document of each server."""
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


def test_the_document_has_the_protocols_paths(document):
    paths = set(document.raw_schema["paths"])
    assert {"/v2", "/v2/health/live", "/v2/health/ready", "/metrics"} <= paths
    assert any(path.endswith(":predict") for path in paths)
    assert any(path.endswith("/infer") for path in paths)


def test_a_good_request_and_its_answer_are_as_documented(served, document, subtests):
    bodies = {":predict": served.v1_body(), "/infer": served.body()}
    for operation in operations(document):
        for end, body in bodies.items():
            if operation.path.endswith(end):
                with subtests.test(operation.label):
                    path = {parameter.name: known(parameter.name, served) for parameter in in_path(operation)}
                    case = operation.Case(path_parameters=path, body=body, media_type="application/json")
                    assert case.call_and_validate(checks=CHECKS).status_code == 200


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_is_a_documented_one(served, document, mode, subtests):
    for operation in operations(document):
        with subtests.test(operation.label):
            explore(operation, mode, served)


def operations(document: schemathesis.BaseSchema) -> list[APIOperation]:
    """What the document describes. Raises where a part of it can't be read."""
    return [found.ok() for found in document.get_all_operations()]


def in_path(operation: APIOperation) -> list:
    """The parameters in the operation's path."""
    return [parameter for parameter in operation.iter_parameters() if parameter.location == "path"]


def known(parameter: str, served: Served) -> str:
    """A value that the server knows."""
    return served.version if "version" in parameter else served.model


def explore(operation: APIOperation, mode: GenerationMode, served: Served) -> None:
    """Asks one operation with good or with bad examples."""

    # The same examples in every run: what fails here fails everywhere.
    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), is_known=strategies.booleans())
    def ask(case: Case, is_known: bool) -> None:
        if is_known:  # nobody would guess the model's name
            for name in case.path_parameters or {}:
                case.path_parameters[name] = known(name, served)
        case.call_and_validate(checks=CHECKS)

    with suppress(Unsatisfiable):  # nothing can be wrong where any text will do
        ask()
