"""The described messages are on the wire those of TensorFlow Serving."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tfvoice.serving.grpc_messages import message_class

# What the messages of tensorflow-serving-api 2.21.0 are serialized to, with the fields of `made`.
WIRE = {
    "PredictRequest": "0a130a07656e676c697368120308ac021a0377617612160a0773616d706c6573120b08031204120208013a0107"
    "1a0474657874",
    "PredictResponse": "0a150a066672616d6573120b08031204120208013a010912130a07656e676c697368120308ac021a03776176",
    "SignatureDefMap": "0a100a0377617612091a0770726564696374",
    "GetModelMetadataRequest": "0a130a07656e676c697368120308ac021a03776176120d7369676e61747572655f646566",
    "GetModelMetadataResponse": "0a130a07656e676c697368120308ac021a03776176125d0a0d7369676e61747572655f646566124c0a"
    "36747970652e676f6f676c65617069732e636f6d2f74656e736f72666c6f772e73657276696e672e5369676e61747572654465664d617012"
    "120a100a0377617612091a0770726564696374",
    "GetModelStatusRequest": "0a110a07656e676c6973682206737461626c65",
    "GetModelStatusResponse": "0a0b08ac02101e1a0412024f4b",
}


def made():
    spec = {"name": "english", "version": {"value": 300}, "signature_name": "wav"}
    wav = {"wav": meta_graph_pb2.SignatureDef(method_name="predict")}
    signatures = message_class("SignatureDefMap")(signature_def=wav)
    url = "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    content = any_pb2.Any(type_url=url, value=signatures.SerializeToString())
    status = {"version": 300, "state": 30, "status": {"error_message": "OK"}}
    samples, frames = (tf.make_tensor_proto(np.int32([number])) for number in (7, 9))
    fields = {
        "PredictRequest": {"model_spec": spec, "inputs": {"samples": samples}, "output_filter": ["text"]},
        "PredictResponse": {"model_spec": spec, "outputs": {"frames": frames}},
        "SignatureDefMap": {"signature_def": wav},
        "GetModelMetadataRequest": {"model_spec": spec, "metadata_field": ["signature_def"]},
        "GetModelMetadataResponse": {"model_spec": spec, "metadata": {"signature_def": content}},
        "GetModelStatusRequest": {"model_spec": {"name": "english", "version_label": "stable"}},
        "GetModelStatusResponse": {"model_version_status": [status]},
    }
    return {name: message_class(name)(**content) for name, content in fields.items()}


@pytest.mark.parametrize("name", WIRE)
def test_a_message_is_on_the_wire_that_of_tensorflow_serving(name):
    message = made()[name]
    assert message.SerializeToString(deterministic=True).hex() == WIRE[name]
    assert message_class(name).FromString(bytes.fromhex(WIRE[name])) == message
