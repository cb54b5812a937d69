"""The messages of TensorFlow Serving's gRPC API, as far as the server needs them.

They are described here rather than compiled, because compiled ones need the version of protobuf that compiled them, and
those of tensorflow-serving-api the version of TensorFlow. Tensors and signatures are TensorFlow's own messages. On the
wire a message is its fields' numbers and types, so that the package may have a name of its own; with that of TensorFlow
Serving, clients in the same process could not import its messages. An enumeration is on the wire as an int32.
"""

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2

_PACKAGE = "tfvoice.serving"
_TYPES = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"string": _TYPES.TYPE_STRING, "int64": _TYPES.TYPE_INT64, "int32": _TYPES.TYPE_INT32}
_IMPORTED = {
    message.DESCRIPTOR.full_name: message.DESCRIPTOR.file.name
    for message in (any_pb2.Any, wrappers_pb2.Int64Value, tensor_pb2.TensorProto, meta_graph_pb2.SignatureDef)
}
# Number and type of each field. `map X` maps strings to X.
_MESSAGES = {
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "map tensorflow.TensorProto"),
        "output_filter": (3, "repeated string"),
    },
    "PredictResponse": {"outputs": (1, "map tensorflow.TensorProto"), "model_spec": (2, "ModelSpec")},
    "SignatureDefMap": {"signature_def": (1, "map tensorflow.SignatureDef")},
    "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "repeated string")},
    "GetModelMetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "map google.protobuf.Any")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "StatusProto")},
    "GetModelStatusResponse": {"model_version_status": (1, "repeated ModelVersionStatus")},
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{_PACKAGE}.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.extend(sorted(set(_IMPORTED.values())))
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            _add_field(message, field_name, number, kind)
    return file


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str) -> None:
    repeated, _, kind = kind.rpartition(" ")
    if repeated == "map":
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, kind)
        kind = f"{message.name}.{entry.name}"
    label = _TYPES.LABEL_REPEATED if repeated else _TYPES.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _TYPES.TYPE_MESSAGE
        field.type_name = f".{kind}" if kind in _IMPORTED else f".{_PACKAGE}.{kind}"


_POOL = descriptor_pool.Default()
_POOL.AddSerializedFile(_file().SerializeToString())


def message_class(name: str) -> type:
    """The class of a message: a key of `_MESSAGES`."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
