"""Which files hold audio, by their names."""

import os
from collections.abc import Iterator

SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".mp4", ".aac", ".aif", ".aiff", ".aifc", ".au"),
    *(".caf", ".w64", ".sph", ".wma", ".amr", ".3gp", ".mka", ".mkv", ".mov", ".webm"),
)


def below(folder: str, links: bool = False) -> Iterator[str]:
    """Yields the paths of the audio files in a folder and its folders, in no order; hidden ones are left out.

    Args:
      folder: where to look.
      links: whether to look into folders that are linked there, too.
    """
    for place, _, names in os.walk(folder, followlinks=links):
        for name in names:
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield os.path.join(place, name)
