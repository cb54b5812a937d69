"""TensorFlow Serving's gRPC API: Predict, GetModelMetadata and GetModelStatus, with the batches of the HTTP server."""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import numpy as np
import prometheus_client
import tensorflow as tf
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError

from tfvoice.errors import TfvoiceError
from tfvoice.serving.grpc_messages import message_class
from tfvoice.serving.limits import BODY_SECONDS
from tfvoice.serving.predictor import SIGNATURES
from tfvoice.serving.service import RequestError, Service, signature_name

_CALLS = prometheus_client.Counter("tfvoice_grpc_answers", "Responses to gRPC calls, by status.", ["code"])
# More calls at a time are rejected; each can hold a message of the largest size.
_MAX_CALLS = 64
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# `ModelVersionStatus.State.AVAILABLE`.
_AVAILABLE = 30
_SIGNATURE_DEF = "signature_def"
_SIGNATURE_DEF_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class GrpcServer:
    """The gRPC server; used within an event loop.

    Args:
      service: what answers the calls.

    Attributes:
      completed: calls that were answered without an error.
    """

    def __init__(self, service: Service):
        self._service, self.completed = service, 0
        options = [
            ("grpc.max_receive_message_length", int(service.limits.max_mib * 2**20)),
            ("grpc.max_send_message_length", -1),
            # Otherwise a second server could listen on the same port.
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_MAX_CALLS)
        services = {
            "PredictionService": {"Predict": self._predict, "GetModelMetadata": self._get_model_metadata},
            "ModelService": {"GetModelStatus": self._get_model_status},
        }
        for name, methods in services.items():
            handlers = {method: self._handler(method, answer) for method, answer in methods.items()}
            generic = grpc.method_handlers_generic_handler(f"tensorflow.serving.{name}", handlers)
            self._server.add_generic_rpc_handlers((generic,))

    async def start(self, host: str, port: int) -> int:
        """Listens on an address (port 0: any free one) and returns the port; raises `TfvoiceError` if it cannot."""
        try:
            bound = self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except RuntimeError:
            bound = 0
        if not bound:
            raise TfvoiceError(f"--host={host} --grpc_port={port}: cannot listen there; use another port.")
        await self._server.start()
        return bound

    async def stop(self, grace_seconds: float) -> None:
        """Accepts no more calls, and waits for those that are being answered."""
        await self._server.stop(grace_seconds)

    def _handler(self, method: str, answer: Callable[[Any], Coroutine]) -> grpc.RpcMethodHandler:
        """Parses requests, turns exceptions into statuses, and counts these."""
        request_class = message_class(f"{method}Request")

        async def handle(_, context):
            try:
                response = await answer(_parse(request_class, await _message(context)))
            except RequestError as error:
                code = _CODES[error.status]
                _CALLS.labels(code.name).inc()
                await context.abort(code, str(error))
            except Exception as error:
                logging.getLogger("tfvoice").error("unexpected error", exc_info=error)
                _CALLS.labels(grpc.StatusCode.INTERNAL.name).inc()
                await context.abort(grpc.StatusCode.INTERNAL, "The server failed on this call; its log says why.")
            _CALLS.labels(grpc.StatusCode.OK.name).inc()
            self.completed += 1
            return response

        serialize = message_class(f"{method}Response").SerializeToString
        # On the wire one message is a stream of one; as a stream, the time that it may take can be limited.
        return grpc.stream_unary_rpc_method_handler(handle, response_serializer=serialize)

    async def _predict(self, request):
        spec = self._model_spec(request.model_spec)
        spec.signature_name = signature_name(request.model_spec.signature_name)
        rows = await asyncio.to_thread(_rows, self._service, spec.signature_name, request)
        outputs = padded(await self._service.predict_rows(spec.signature_name, rows))
        names = dict.fromkeys(request.output_filter) or outputs
        if unknown := set(names) - set(outputs):
            raise RequestError(400, f"There is no output {min(unknown)}; there are {', '.join(outputs)}.")
        response = message_class("PredictResponse")(model_spec=spec)
        for name in names:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    async def _get_model_metadata(self, request):
        spec = self._model_spec(request.model_spec)
        if list(request.metadata_field) != [_SIGNATURE_DEF]:
            raise RequestError(400, f"metadata_field must be {_SIGNATURE_DEF}.")
        signatures = message_class("SignatureDefMap")(signature_def=self._service.predictor.signature_defs)
        content = any_pb2.Any(type_url=_SIGNATURE_DEF_TYPE, value=signatures.SerializeToString())
        return message_class("GetModelMetadataResponse")(model_spec=spec, metadata={_SIGNATURE_DEF: content})

    async def _get_model_status(self, request):
        version = self._model_spec(request.model_spec).version.value
        status = {"version": version, "state": _AVAILABLE, "status": {}}
        return message_class("GetModelStatusResponse")(model_version_status=[status])

    def _model_spec(self, spec):
        """The specification of the model that is served; raises `RequestError` where `spec` is of another one."""
        predictor = self._service.predictor
        other_version = spec.HasField("version") and spec.version.value != predictor.version
        if spec.name != predictor.name or other_version or spec.version_label:
            message = f"There is no such model or version; this server has {predictor.name}, {predictor.version}."
            raise RequestError(404, message)
        return message_class("ModelSpec")(name=predictor.name, version={"value": predictor.version})


async def _message(context: grpc.aio.ServicerContext) -> bytes:
    try:
        data = await asyncio.wait_for(context.read(), BODY_SECONDS)
    except asyncio.TimeoutError:
        raise RequestError(408, f"The message did not arrive within {BODY_SECONDS:g} s.") from None
    if data is grpc.aio.EOF:
        raise RequestError(400, "The call has no message.")
    return data


def _parse(request_class: type, data: bytes):
    """The message; what gRPC itself says of bytes that are none has internals in it."""
    try:
        return request_class.FromString(data)
    except DecodeError:
        raise RequestError(400, f"The message is no {request_class.DESCRIPTOR.name}.") from None


def padded(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The outputs of a batch as arrays `[batch, ...]`, the shorter ones padded with zeros or empty strings."""
    outputs = {}
    for name in rows[0]:
        values = [np.asarray(row[name], object if name in ("text", "words") else None) for row in rows]
        size = max((len(value) for value in values if value.ndim), default=0)
        if values[0].ndim:
            widths = [[(0, size - len(value)), *[(0, 0)] * (value.ndim - 1)] for value in values]
            fill = {"constant_values": ""} if name == "words" else {}
            values = [np.pad(value, width, **fill) for value, width in zip(values, widths, strict=True)]
        stacked = np.stack(values)
        kinds = {"f": np.float32, "i": np.int32, "O": object}
        outputs[name] = stacked.astype(kinds[stacked.dtype.kind])
    return outputs


def _rows(service: Service, signature: str, request) -> list[bytes] | list[np.ndarray]:
    """The recordings of a request: files, or samples."""
    name = "wav" if signature in SIGNATURES[:2] else "waveform"
    if name not in request.inputs:
        raise RequestError(400, f"The signature {signature} has the input {name}, and it is absent.")
    if name == "wav":
        return list(_array(service, request, name, tf.string, 1))
    waveforms = _array(service, request, name, tf.float32, 2)
    samples = (
        _array(service, request, "samples", tf.int32, 1) if "samples" in request.inputs else [None] * len(waveforms)
    )
    if len(samples) != len(waveforms) or any(count is not None and count < 0 for count in samples):
        raise RequestError(400, "samples must have the number of valid samples of each row of waveform.")
    return [waveform[:count] for waveform, count in zip(waveforms, samples, strict=True)]


def _array(service: Service, request, name: str, dtype: tf.DType, rank: int) -> np.ndarray:
    """An input as an array; too many rows and a shape larger than the message are refused before it is allocated."""
    tensor = request.inputs[name]
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    valid = tensor.dtype == dtype.as_datatype_enum and len(shape) == rank and min(shape) >= 0
    if valid:
        service.check_rows(shape[0])
    try:
        if valid and math.prod(shape) <= tensor.ByteSize():
            return tf.make_ndarray(tensor)
    except (TypeError, ValueError):
        pass
    raise RequestError(400, f"The input {name} must be a tensor of {dtype.name} with {rank} dimensions.")
