"""The tree of VoxForge: a folder for each submission, with prompts in `etc/` and audio in `wav/` or `flac/`."""

from collections.abc import Iterator
from pathlib import Path

from tfvoice import storage
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

# Files with case and punctuation first.
_PROMPTS = ("prompts-original", "PROMPTS", "prompts", "prompts.txt")


def read(source: str) -> Listing:
    """Reads VoxForge submissions.

    Users without a name are all called anonymous in the corpus; each of their submissions counts as another speaker.

    Args:
      source: a folder that holds submissions, at any depth.

    Raises:
      CorpusError: there is no submission.
    """
    root = Path(source)
    base.check_folder(root, "the submissions")
    found = ((Path(place), _prompts(Path(place))) for place, _ in storage.walk(root))
    submissions = [(folder, prompts) for folder, prompts in found if prompts]
    if not submissions:
        raise CorpusError(f"{root}: no folder in it holds etc/{_PROMPTS[0]} or etc/{_PROMPTS[1]}; unpack the archives.")
    return base.checked(item for folder, prompts in submissions for item in _submission(folder, prompts))


def _prompts(folder: Path) -> Path | None:
    if not (folder / "etc").is_dir():
        return None
    return next((folder / "etc" / name for name in _PROMPTS if (folder / "etc" / name).is_file()), None)


def _submission(folder: Path, prompts: Path) -> Iterator[Utterance | Skip]:
    audio = {
        path.stem: path
        for kind in ("flac", "wav")
        if (folder / kind).is_dir()
        for path in base.entries(folder / kind)
        if path.suffix.lower() in base.AUDIO_SUFFIXES
    }
    name = folder.name.split("-")[0]
    speaker = folder.name if name.lower() in ("anonymous", "anon", "") else name
    known: set[str] = set()
    for line in filter(str.strip, _text(prompts).split("\n")):
        # PROMPTS has folder/mfc/b0019 where prompts-original has b0019.
        recording, *text = line.strip().split(None, 1)
        clip = recording.rsplit("/", 1)[-1].removesuffix(".wav")
        known.add(clip)
        id = f"{folder.name}/{clip}"
        if clip in audio:
            yield Utterance(id, str(audio[clip]), "".join(text), speaker)
        else:
            yield Skip(id, "missing_audio", detail=f"{prompts} names it")
    yield from (
        Skip(f"{folder.name}/{clip}", "missing_transcript", detail=f"not in {prompts}") for clip in audio.keys() - known
    )


def _text(path: Path) -> str:
    """Reads prompts, which are UTF-8 or else Latin-1."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")
