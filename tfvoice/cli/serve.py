"""Serves a recogniser, voices or both over HTTP, with a web page; needs pip install 'tfvoice[serve]'.

  tfvoice_serve --model=models/english --voice=default

--model is what tfvoice_export wrote: a version, or a folder of versions, of which the highest at the start is served;
restart the server for a newer one. The API is the REST API of TensorFlow Serving, with --grpc_port=8500 also its gRPC
API; an audio file can also be sent as it is:

  curl --data-binary @speech.wav http://127.0.0.1:8501/transcribe

--voice is the folder of a voice, or of its export, or default, the voice of the package. It speaks while it is sent:

  curl -d '{"text": "Please call Stella."}' http://127.0.0.1:8501/speak > speech.wav

Clients of OpenAI's API for audio work with the base URL http://127.0.0.1:8501/v1.

The server listens on this machine only, unless --host says otherwise. It has neither authentication nor encryption:
put a proxy in front of it before others can reach it.
"""

from tfvoice import hardware
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError

FLAGS = Flags()
MODEL = FLAGS.string("model", "Folder or URL of a recogniser, or of its versions.", metavar="DIR", url=True)
VOICE = FLAGS.strings("voice", "Folder of a voice, or default. Requests name one by its folder.", metavar="DIR")
HOST = FLAGS.string("host", "Address to listen on; 0.0.0.0 for those of all networks.", "127.0.0.1", "ADDRESS")
PORT = FLAGS.integer("port", "Port to listen on; 0 for any free one.", 8501, 0)
GRPC_PORT = FLAGS.integer(
    "grpc_port", "Port of TensorFlow Serving's gRPC API; 0 for any free one. Default: no gRPC API.", None, 0
)
MAX_SECONDS = FLAGS.number("max_seconds", "Longer recordings are rejected with status 413.", 60.0, 0.1)
MAX_MIB = FLAGS.number("max_mib", "Requests with a larger body are rejected with status 413.", 32.0, 0.01)
MAX_CHARACTERS = FLAGS.integer("max_characters", "Longer texts are not spoken, but get status 413.", 5000, 1)
MAX_WAITING = FLAGS.integer(
    "max_waiting",
    "Recordings, and texts to speak, that may wait in the queue; more are rejected with status 429.",
    256,
    1,
)
BATCH_SIZE = FLAGS.integer("batch_size", "Recordings in a batch, at most.", 16, 1)


def main(_: list[str]) -> None:
    """Calls `app.serve`."""
    if not MODEL.value and not VOICE.value:
        raise UsageError("give --model=DIR to transcribe, --voice=DIR to speak, or both.")
    if GRPC_PORT.value is not None and not MODEL.value:
        raise UsageError("--grpc_port serves a recogniser; add --model=DIR.")
    load_tensorflow()
    try:
        from tfvoice.serving import app, service
    except ModuleNotFoundError as error:
        raise UsageError(f"Serving needs {error.name}; install it with pip install 'tfvoice[serve]'.") from None

    print(hardware.describe(), flush=True)
    limits = service.ServerLimits(
        MAX_SECONDS.value, MAX_MIB.value, MAX_WAITING.value, BATCH_SIZE.value, MAX_CHARACTERS.value
    )
    app.serve(MODEL.value, HOST.value, PORT.value, limits, GRPC_PORT.value, VOICE.value)
