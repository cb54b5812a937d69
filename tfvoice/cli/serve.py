"""Serves an exported recogniser over HTTP, with a page for people; needs pip install 'tfvoice[serve]'.

  tfvoice_serve --model=models/english

--model is what tfvoice_export wrote: a version, or a folder of versions, of which the highest is served. The API is
that of TensorFlow Serving; a file can also be sent as it is:

  curl --data-binary @speech.wav http://127.0.0.1:8501/transcribe

Only this machine can reach the server unless --host says otherwise. It has neither passwords nor encryption: put a
proxy before it where strangers are.
"""

from tfvoice.cli.flags import Flags, UsageError, load_tensorflow

FLAGS = Flags()
MODEL = FLAGS.string("model", "Folder of a model, or of its versions.", shape="DIR", required=True)
HOST = FLAGS.string("host", "Address to listen at; 0.0.0.0 for all.", "127.0.0.1", "ADDRESS")
PORT = FLAGS.integer("port", "Port to listen at; 0 for any that is free.", 8501, 0)
MAX_SECONDS = FLAGS.number("max_seconds", "Longer recordings are refused.", 60.0, 0.1)
MAX_MIB = FLAGS.number("max_mib", "Larger requests are refused.", 32.0, 0.01)
MAX_WAITING = FLAGS.integer(
    "max_waiting", "Recordings that may wait while others are read; more are refused with status 429.", 256, 1
)
BATCH_SIZE = FLAGS.integer("batch_size", "Recordings that are read at a time, at most.", 16, 1)


def main(_: list[str]) -> None:
    """Calls `web.serve`."""
    load_tensorflow()
    try:
        from tfvoice.serving import app, service
    except ModuleNotFoundError as error:
        raise UsageError(f"Serving needs {error.name}; install it with pip install 'tfvoice[serve]'.") from None

    limits = service.Limits(MAX_SECONDS.value, MAX_MIB.value, MAX_WAITING.value, BATCH_SIZE.value)
    app.serve(MODEL.value, HOST.value, PORT.value, limits)
