"""What gRPC's own tools do: the standard health service, and reflection, as grpcurl uses it."""

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from served import check

SERVICE = "inference.GRPCInferenceService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
SECONDS = 30


@pytest.fixture
def channel(served):
    """A channel to the server."""
    with grpc.insecure_channel(served.grpc) as channel:
        yield channel


@pytest.mark.parametrize("service", ["", SERVICE])
def test_kubernetes_grpc_probe_reads_health(channel, service):
    health = HealthStub(channel)
    assert health.Check(HealthCheckRequest(service=service), timeout=SECONDS).status == SERVING


def test_health_can_be_watched(channel):
    watch = HealthStub(channel).Watch(HealthCheckRequest(service=""), timeout=SECONDS)
    assert next(watch).status == SERVING
    watch.cancel()


def test_a_models_health_follows_it_as_it_goes_and_comes_back(controlled):
    served = controlled.served
    with grpc.insecure_channel(served.grpc) as channel:
        health, asked = HealthStub(channel), HealthCheckRequest(service=served.model)
        watch = health.Watch(asked, timeout=SECONDS)
        assert next(watch).status == SERVING
        served.post(f"/v2/repository/models/{served.model}/unload", {})
        assert next(watch).status == NOT_SERVING
        assert health.Check(asked, timeout=SECONDS).status == NOT_SERVING
        # A model that was unloaded on purpose is nothing that the server lacks.
        assert health.Check(HealthCheckRequest(service=""), timeout=SECONDS).status == SERVING
        controlled.restore()
        assert next(watch).status == SERVING
        watch.cancel()


def test_the_health_of_a_service_that_is_not_there_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as raised:
        HealthStub(channel).Check(HealthCheckRequest(service="nobody"), timeout=SECONDS)
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(channel):
    services = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= services
    assert any(service.endswith(".ServerReflection") for service in services)


def test_reflection_describes_the_protocol_well_enough_to_call_it(served, channel):
    # Its descriptors are in a pool of their own: nothing here comes from a client's generated code.
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    service = pool.FindServiceByName(SERVICE)
    common = {"ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"}
    assert common <= {method.name for method in service.methods}
    method = service.FindMethodByName("ModelInfer")
    numbers = {field.name: field.number for field in method.input_type.fields}
    assert numbers == {
        "model_name": 1,
        "model_version": 2,
        "id": 3,
        "parameters": 4,
        "inputs": 5,
        "outputs": 6,
        "raw_input_contents": 7,
    }
    request = GetMessageClass(method.input_type)(model_name=served.model, id="seven")
    contents = {"FP32": "fp32_contents", "BYTES": "bytes_contents"}
    for name, column in served.question.items():
        tensor = request.inputs.add(name=name, datatype=column.datatype, shape=column.shape)
        encode = str.encode if column.datatype == "BYTES" else float
        getattr(tensor.contents, contents[column.datatype]).extend(map(encode, column.flat))
    call = channel.unary_unary(
        f"/{SERVICE}/ModelInfer",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    answer = call(request, timeout=SECONDS)
    assert answer.id == "seven"
    assert not answer.raw_output_contents
    fields = contents | {"INT32": "int_contents"}
    kinds = {"FP32": np.float32, "INT32": np.int32, "BYTES": np.object_}
    found = {
        output.name: np.array(
            list(getattr(output.contents, fields[output.datatype])), kinds[output.datatype]
        ).reshape(output.shape)
        for output in answer.outputs
    }
    check(found, served.answer)


def test_a_method_that_is_not_there_is_unimplemented(channel):
    call = channel.unary_unary(f"/{SERVICE}/Dance")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"", timeout=SECONDS)
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
