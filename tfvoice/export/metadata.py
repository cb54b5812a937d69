"""`tfvoice.json`: what a server needs to know about an exported model, written and read here."""

from pathlib import Path
from typing import Any

from tfvoice import storage
from tfvoice.errors import TfvoiceError

FILE = "tfvoice.json"
SCHEMA = 1


def write(folder: Path, content: dict[str, Any]) -> None:
    """Writes `tfvoice.json` into the folder of an exported model."""
    storage.write_json(folder / FILE, {"schema": SCHEMA} | content)


def read(folder: Path) -> dict[str, Any]:
    """Reads `tfvoice.json`; raises `TfvoiceError` where the folder has none."""
    try:
        return dict(storage.read_json(folder / FILE))
    except (OSError, ValueError, TypeError):
        raise TfvoiceError(
            f"{folder}: has no {FILE}, so tfvoice_export did not write it; export the run again."
        ) from None
