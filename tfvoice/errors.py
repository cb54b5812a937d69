"""The exception for errors that the user can fix."""


class TfvoiceError(Exception):
    """An error in the input, not a bug.

    Its message is one sentence that names the file or key, states the fact, and says what to type next. The commands
    print it without a traceback and exit with status 1.
    """
