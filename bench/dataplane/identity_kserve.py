"""The identity models on KServe's Python SDK. Runs in the clients' environment, not in the pipelines'."""

import logging

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server


class Identity(Model):
    """Answers with its inputs."""

    def __init__(self, name: str):
        super().__init__(name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        """V1 comes as a dict; V2, whether REST or gRPC, as an `InferRequest`."""
        if not isinstance(payload, InferRequest):
            return {"predictions": [self.prediction(instance) for instance in payload["instances"]]}
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput(tensor.name, tensor.shape, tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs, use_binary_outputs=payload.use_binary_outputs)

    @staticmethod
    def prediction(instance):
        """A row is its own answer; of a table, the first column and the ids are."""
        if isinstance(instance, list):
            return instance
        return {"scores": [row[0] for row in instance["rows"]], "ids": instance["ids"]}


if __name__ == "__main__":
    args, _ = model_server.parser.parse_known_args()
    server = ModelServer(
        http_port=args.http_port, grpc_port=args.grpc_port, workers=1, enable_latency_logging=False
    )
    # As quiet as the others.
    logging.disable(logging.INFO)
    server.start([Identity("identity"), Identity("mixed")])
