"""Any folder of audio, cut into clips: music or speech without transcripts, for models that generate audio."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tfvoice.audio import decoding
from tfvoice.audio import io as audio_io
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

CLIP_SECONDS = "8"
# The rest at the end of a recording becomes a clip from this length on.
_SHORTEST_REST_SECONDS = 1.0


def read(source: str, clip_seconds: str = CLIP_SECONDS) -> Listing:
    """Finds the recordings below a folder, and cuts each into clips.

    The id of a clip is `recording@start`, and its speaker is the recording, so that `--split_by=speaker` keeps the
    clips of a recording together.

    Args:
      source: the folder, or a single file.
      clip_seconds: length of a clip; the last one of a recording can be shorter. A rest of less than a second is
        dropped.

    Raises:
      CorpusError: there is no audio, or `clip_seconds` is not a length.
    """
    try:
        length = float(clip_seconds)
    except ValueError:
        length = 0.0
    if not 0.1 <= length < float("inf"):
        raise CorpusError(f"--clip_seconds={clip_seconds}: write a length of at least 0.1, for example 8.")
    root = Path(source)
    if not root.exists():
        raise CorpusError(f"{source}: there is no such folder; name one that holds audio with --input.")
    base.refuse_archive(root)
    files = [root] if root.is_file() else sorted(map(Path, decoding.find_audio(source, links=True)))
    if not files:
        known = ", ".join(decoding.AUDIO_SUFFIXES)
        raise CorpusError(f"{source}: no audio is in this folder or below it; looked for {known}.")
    home = root.parent if root.is_file() else root
    return base.checked(_all_clips(files, home, length), with_text=False)


def _all_clips(files: list[Path], home: Path, length: float) -> Iterator[Utterance | Skip]:
    stems = Counter(path.with_suffix("") for path in files)
    for path in files:
        # song.flac beside song.mp3 keep their suffixes.
        unique = path if stems[path.with_suffix("")] > 1 else path.with_suffix("")
        name = unique.relative_to(home).as_posix()
        try:
            total = audio_io.seconds(str(path))
        except audio_io.AudioError as error:
            yield Skip(name, error.reason, detail=str(error))
        else:
            yield from _clips(name, path, total, length)


def _clips(name: str, path: Path, total: float, length: float) -> list[Utterance]:
    clips, start = [], 0.0
    while start == 0.0 or total - start >= min(_SHORTEST_REST_SECONDS, length):
        seconds = min(length, total - start)
        clips.append(Utterance(f"{name}@{start:09.3f}", str(path), "", name, "", start, seconds))
        start += length
    return clips
