"""Which tfvoice this is."""

from importlib import metadata


def installed() -> str:
    """The version, or that there is none, as in a checkout that only lies on the path."""
    try:
        return metadata.version("tfvoice")
    except metadata.PackageNotFoundError:
        return "(not installed)"
