"""Questions to a transformer in the cluster, over every protocol."""

import json
from pathlib import Path

import httpx
from conftest import CLIENTS, SERVICE
from kube import Namespace, run

DATE = "2020-09-16"


def instance(customer_id: str, **more: object) -> dict:
    """One question."""
    return {"customer_id": customer_id, "transaction_date": DATE, **more}


class Shop:
    """Asks the transformer of a release through its Service."""

    def __init__(
        self,
        namespace: Namespace,
        http: httpx.Client,
        service: str = SERVICE,
        component: str = "transformer",
    ) -> None:
        """It has to be installed; `component` is whose pod it is in."""
        self.namespace, self.http, self.service = namespace, http, service
        self.component = f"{service}-{component}"
        self.host = namespace.address(self.component)
        self.url = f"http://{self.host}"
        self.predict_url = f"{self.url}/v1/models/{service}:predict"

    def ask(self, *instances: dict, **headers: str) -> httpx.Response:
        """V1."""
        return self.http.post(self.predict_url, json={"instances": list(instances)}, headers=headers)

    def predictions(self, *instances: dict) -> list[dict]:
        """V1's predictions, which there have to be."""
        answer = self.ask(*instances)
        assert answer.status_code == 200, answer.text
        return answer.json()["predictions"]

    def prediction(self, customer_id: str, **more: object) -> dict:
        """One of them."""
        (prediction,) = self.predictions(instance(customer_id, **more))
        return prediction

    def v2(self, customer_id: str) -> list[list]:
        """The ranking by V2."""
        options = {"name": "options", "datatype": "BYTES", "shape": [1]}
        options["data"] = [json.dumps(instance(customer_id))]
        answer = self.http.post(f"{self.url}/v2/models/{self.service}/infer", json={"inputs": [options]})
        assert answer.status_code == 200, answer.text
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        return [list(pair) for pair in zip(outputs["scores"], outputs["article_ids"], strict=True)]

    def grpc(self, customer_id: str) -> list[list]:
        """The ranking by gRPC, over the Service's port for it."""
        address = self.namespace.address(self.component, 8081)
        program = Path(__file__).with_name("ask_grpc.py")
        question = json.dumps(instance(customer_id))
        return json.loads(run(str(CLIENTS), str(program), address, self.service, question))

    def is_ready(self) -> bool:
        """What its readiness endpoint says, where anybody answers."""
        try:
            return self.http.get(f"{self.url}/v2/health/ready").status_code == 200
        except httpx.TransportError:
            return False
