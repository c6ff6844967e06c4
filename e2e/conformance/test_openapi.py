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
from served import Controlled, Served

EXAMPLES = 30
CONTROL_EXAMPLES = 100
UNLOADED_EXAMPLES = 10
# What is found of a server that takes control calls, at least, by what it is asked for.
CONTROL = {
    "GET /v2/logging": {200},
    "POST /v2/logging": {200, 400},
    "POST /v2/repository/index": {200, 400},
    "POST /v2/repository/models/{model}/load": {200, 400, 404},
    "POST /v2/repository/models/{model}/unload": {200, 400, 404},
}
LOGGED = ("info", "warn,dataplane=debug", "off")


def no_failure_of_the_server(context: CheckContext, response: Response, case: Case) -> bool | None:
    """No 5xx, but for the one that is KServe's answer for a model without explanations: 501 on `:explain`."""
    if response.status_code == 501 and case.operation.path.endswith(":explain"):
        return None
    return not_a_server_error(context, response, case)


def no_failure_but_not_ready(context: CheckContext, response: Response, case: Case) -> bool | None:
    """The same of a server whose model is unloaded: 503 says just that."""
    if response.status_code == 503 and response.json()["code"] == "not_ready":
        return None
    return no_failure_of_the_server(context, response, case)


CONFORMANCE = [status_code_conformance, content_type_conformance, response_schema_conformance]
CHECKS = [no_failure_of_the_server, *CONFORMANCE]
UNLOADED_CHECKS = [no_failure_but_not_ready, *CONFORMANCE]


@pytest.fixture
def document(served):
    """The document of each server."""
    return read(served)


def read(served: Served) -> schemathesis.BaseSchema:
    """What a server says of itself."""
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


def test_every_answer_to_a_control_call_is_a_documented_one(controlled, subtests):
    for operation in operations(read(controlled.served)):
        if (wanted := CONTROL.get(operation.label)) is None:
            continue
        with subtests.test(operation.label):
            found = set()
            for mode in GenerationMode:
                found |= explore(operation, mode, controlled.served, examples=CONTROL_EXAMPLES)
            assert wanted <= found
            assert 403 not in found
    logs(controlled, "info")


def test_a_load_that_fails_is_a_documented_answer(controlled):
    load = next(o for o in operations(read(controlled.served)) if o.label.endswith("/load"))
    controlled.spoil()
    assert 409 in explore(load, GenerationMode.POSITIVE, controlled.served)


@pytest.mark.parametrize("mode", GenerationMode)
def test_every_answer_of_a_server_whose_model_is_unloaded_is_a_documented_one(controlled, mode, subtests):
    served = controlled.served
    assert served.version  # asked for once, while there is one
    served.post(f"/v2/repository/models/{served.model}/unload", {})
    found = set()
    for operation in operations(read(served)):
        if operation.label in CONTROL:
            continue
        with subtests.test(operation.label):
            found |= explore(operation, mode, served, checks=UNLOADED_CHECKS, examples=UNLOADED_EXAMPLES)
    assert 503 in found


def logs(controlled: Controlled, level: str) -> None:
    """Lets a server log so much from now on."""
    controlled.served.post("/v2/logging", {"level": level})


def operations(document: schemathesis.BaseSchema) -> list[APIOperation]:
    """What the document describes. Raises where a part of it can't be read."""
    return [found.ok() for found in document.get_all_operations()]


def in_path(operation: APIOperation) -> list:
    """The parameters in the operation's path."""
    return [parameter for parameter in operation.iter_parameters() if parameter.location == "path"]


def known(parameter: str, served: Served) -> str:
    """A value that the server knows."""
    return served.version if "version" in parameter else served.model


def explore(
    operation: APIOperation, mode: GenerationMode, served: Served, *, checks=CHECKS, examples=EXAMPLES
) -> set[int]:
    """Asks one operation with good or with bad examples; the statuses that it answered with."""
    found = set()

    # The same examples in every run: what fails here fails everywhere.
    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=mode),
        is_known=strategies.booleans(),
        level=strategies.sampled_from(LOGGED),
    )
    def ask(case: Case, is_known: bool, level: str) -> None:
        if is_known:  # nobody would guess the model's name, or what can be logged
            for name in case.path_parameters or {}:
                case.path_parameters[name] = known(name, served)
            if operation.label == "POST /v2/logging" and mode is GenerationMode.POSITIVE:
                case.body = {"level": level}
        found.add(case.call_and_validate(checks=checks).status_code)

    with suppress(Unsatisfiable):  # nothing can be wrong where any text will do
        ask()
    return found
