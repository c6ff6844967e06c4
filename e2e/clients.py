"""Asks a running transformer with the Python clients that people already have; prints what they say as JSON.

Runs in an environment of its own (see requirements-clients.in): `python clients.py URL MODEL CUSTOMER DATE`.
"""

import asyncio
import json
import sys

import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from tritonclient.utils import InferenceServerException

OUTPUTS = ("article_ids", "scores", "count", "info")


def texts(values: np.ndarray) -> list:
    """Bytes as text, in whatever shape they come."""
    return [value.decode() if isinstance(value, bytes) else value for value in values.reshape(-1).tolist()]


async def kserve(url: str, model: str, customer: str, date: str) -> dict:
    """What KServe's client says, over both protocols."""
    instance = {"customer_id": customer, "transaction_date": date}
    async with InferenceRESTClient(RESTConfig(protocol="v1", retries=0)) as client:
        v1 = await client.infer(url, {"instances": [instance]}, model)
        live = await client.is_server_live(url)
        model_ready = await client.is_model_ready(url, model)
        refusal = await refused(client.infer(url, {"instances": [instance | {"k": 0}]}, model))
        unknown = await refused(client.infer(url, {"instances": [instance]}, "nobody"))
    inputs = [
        InferInput("customer_id", [1], "BYTES", [customer]),
        InferInput("transaction_date", [1], "BYTES", [date]),
    ]
    async with InferenceRESTClient(RESTConfig(protocol="v2", retries=0)) as client:
        ready = await client.is_server_ready(url)
        v2_model_ready = await client.is_model_ready(url, model)
        answer = await client.infer(url, InferRequest(model, inputs, request_id="7"), model)
    return {
        "v1": v1,
        "health": [live, ready, model_ready, v2_model_ready],
        "refusal": refusal,
        "unknown": unknown,
        "id": answer.id,
        "v2": {output.name: texts(output.as_numpy()) for output in answer.outputs},
        "shapes": {output.name: list(output.shape) for output in answer.outputs},
    }


async def refused(request) -> str:
    """What the client raises."""
    try:
        await request
    except Exception as error:
        return str(error)
    return ""


def tritons(url: str, model: str, customer: str, date: str) -> dict:
    """What Triton's client says, with JSON tensors."""
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        health = [client.is_server_live(), client.is_server_ready(), client.is_model_ready(model)]
        server, metadata = client.get_server_metadata(), client.get_model_metadata(model)
        answer = client.infer(model, inputs(customer, date), outputs=wanted(), request_id="7")
        some = client.infer(model, inputs(customer, date), outputs=wanted("count"))
        try:
            client.infer(model, inputs(customer, "yesterday"), outputs=wanted())
            refusal = ""
        except InferenceServerException as error:
            refusal = str(error)
        return {
            "health": health,
            "server": server,
            "metadata": metadata,
            "id": answer.get_response()["id"],
            "v2": {name: texts(answer.as_numpy(name)) for name in OUTPUTS},
            "shapes": {name: list(answer.as_numpy(name).shape) for name in OUTPUTS},
            "some": [output["name"] for output in some.get_response()["outputs"]],
            "refusal": refusal,
        }


def inputs(customer: str, date: str) -> list:
    """A request's tensors, as JSON."""
    tensors = []
    for name, value in (("customer_id", customer), ("transaction_date", date)):
        tensor = triton.InferInput(name, [1], "BYTES")
        tensor.set_data_from_numpy(np.array([value], dtype=object), binary_data=False)
        tensors.append(tensor)
    return tensors


def wanted(*names: str) -> list:
    """These outputs, as JSON; all of them where none is named."""
    return [triton.InferRequestedOutput(name, binary_data=False) for name in names or OUTPUTS]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    print(json.dumps({"kserve": asyncio.run(kserve(*arguments)), "triton": tritons(*arguments)}))
