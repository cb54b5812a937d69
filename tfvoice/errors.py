"""The one exception that means: the user can mend this."""


class TfvoiceError(Exception):
    """A problem with the input, not with the program.

    Its text is one sentence that names the file or key, states the fact, and says what to type next. The
    commands print it without a traceback and end with exit status 1.
    """
