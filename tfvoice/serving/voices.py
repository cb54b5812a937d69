"""The voices that a server speaks with, from the folders of the command line."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfvoice.errors import TfvoiceError
from tfvoice.export import saved_model
from tfvoice.run import DESCRIPTION
from tfvoice.serving.predictor import latest_version, served_name
from tfvoice.tts.voice.run import EXPORTED_VOICE, PACKAGED_VOICE, VoiceRun
from tfvoice.tts.voice.speaker import Speaker

# The name of the voice that comes with the package.
DEFAULT = "default"


def load(folders: Sequence[str | Path]) -> dict[str, Speaker]:
    """Loads voices.

    Args:
      folders: of each, that of a run, of an export or of its versions, or `default`.

    Returns:
      Speakers of one thread, by the names of the folders, in their order.

    Raises:
      TfvoiceError: a folder holds no voice, or two have the same name.
    """
    speakers: dict[str, Speaker] = {}
    for folder in folders:
        name, path = _find(folder)
        if name in speakers:
            raise TfvoiceError(
                f"--voice={folder}: there is another voice of the name {name}; rename one of the folders."
            )
        speakers[name] = Speaker(VoiceRun.load(path), threads=1)
    return speakers


def _find(folder: str | Path) -> tuple[str, Path]:
    """The name of a voice, and the folder of its run."""
    if str(folder) == DEFAULT:
        if not (PACKAGED_VOICE / DESCRIPTION).is_file():
            raise TfvoiceError("--voice=default: this installation has no voice; name the folder of one.")
        return DEFAULT, PACKAGED_VOICE
    # As it is written: clients know the name of a link, not of its target.
    path = Path(os.path.abspath(folder))
    if (path / DESCRIPTION).is_file():
        return path.name, path
    try:
        path = latest_version(path)
    except TfvoiceError:
        raise TfvoiceError(
            f"{folder}: holds no voice; name a folder of tfvoice_train --model=deep_voice, or of its tfvoice_export."
        ) from None
    exported = path / saved_model.EXTRA_ASSETS / EXPORTED_VOICE
    if not (exported / DESCRIPTION).is_file():
        raise TfvoiceError(f"{path}: is an exported model, but no voice; serve a recogniser with --model={folder}.")
    return served_name(path), exported
