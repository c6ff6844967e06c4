"""One question over gRPC by Triton's client: `ask_grpc.py HOST:PORT MODEL INSTANCE` prints the ranking.

A program of its own, for the clients have an environment of their own.
"""

import json
import sys

import numpy as np
import tritonclient.grpc as triton

SECONDS = 20


def main() -> None:
    """Asks."""
    address, model, instance = sys.argv[1:]
    options = triton.InferInput("options", [1], "BYTES")
    options.set_data_from_numpy(np.array([instance.encode()], dtype=object))
    answer = triton.InferenceServerClient(address).infer(model, [options], client_timeout=SECONDS)
    ids = [article.decode() for article in answer.as_numpy("article_ids")[0]]
    scores = answer.as_numpy("scores")[0]
    # As JSON has a float of 32 bits: its shortest form.
    ranking = [[float(str(score)), article] for score, article in zip(scores, ids, strict=True)]
    print(json.dumps(ranking))


if __name__ == "__main__":
    main()
