"""The tree of VCTK: 110 speakers of English read newspaper sentences (University of Edinburgh).

Release 0.80 has `wav48/p225/p225_001.wav`, release 0.92 `wav48_silence_trimmed/p225/p225_001_mic1.flac`; both have
`txt/p225/p225_001.txt` and, usually, `speaker-info.txt`. Speaker p315 has recordings and no transcripts.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import CorpusError, Listing, Skip, Utterance

AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48", "wav")
MICROPHONES = ("mic1", "mic2")


def read(source: str, mic: str = "mic1") -> Listing:
    """Reads VCTK of either release.

    Args:
      source: the folder that holds `wav48` (or `wav48_silence_trimmed`) and `txt`, or the folder above it.
      mic: the microphone of release 0.92; release 0.80 has only one. A speaker without any recording of it is
        skipped as expected.

    Returns:
      The utterances and metadata of the speakers. A transcript without audio is skipped as `missing_audio`, audio
      without a transcript as `missing_transcript`, and all audio of a speaker without a folder in `txt` as
      `speaker_without_transcripts`, which is expected.

    Raises:
      CorpusError: there is no such tree, or no such microphone.
    """
    if mic not in MICROPHONES:
        raise CorpusError(f"--mic={mic}: no such microphone; use {' or '.join(MICROPHONES)}.")
    root, audio_folder = _find(Path(source))
    speakers = sorted(_folders(audio_folder) | _folders(root / "txt"))
    items = (item for speaker in speakers for item in _speaker(root, audio_folder, speaker, mic))
    return base.checked(items, speaker_info(root))


def speaker_info(root: Path) -> dict[str, dict[str, str]]:
    """Reads `speaker-info.txt`, columns ID AGE GENDER ACCENTS REGION, the last of which can contain blanks.

    Returns:
      The columns, named in lower case, of each speaker (`p225`, for which release 0.80 writes `225`); empty where the
      file does not exist.
    """
    path = root / "speaker-info.txt"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    names = [name.lower() for name in lines[0].split()[:5]] if lines else []
    info = {}
    for fields in (line.split(maxsplit=4) for line in lines[1:]):
        if fields:
            speaker = f"p{fields[0]}" if fields[0].isdigit() else fields[0]
            info[speaker] = dict(zip(names[1:], fields[1:], strict=False))
    return info


def _find(source: Path) -> tuple[Path, Path]:
    def audio_folder(root: Path) -> Path | None:
        folders = (root / name for name in AUDIO_FOLDERS if (root / name).is_dir() and (root / "txt").is_dir())
        return next(folders, None)

    what = f"{', '.join(f'{name}/' for name in AUDIO_FOLDERS[:-1])} or {AUDIO_FOLDERS[-1]}/ beside txt/"
    if source.name in AUDIO_FOLDERS and source.is_dir():
        source = source.absolute().parent
    root = base.find_tree(source, lambda folder: audio_folder(folder) is not None, what)
    return root, audio_folder(root)


def _folders(path: Path) -> set[str]:
    return {entry.name for entry in base.entries(path) if entry.is_dir()}


def _speaker(root: Path, audio_folder: Path, speaker: str, mic: str) -> Iterator[Utterance | Skip]:
    audio = _audio_files(audio_folder / speaker, mic)
    transcripts = root / "txt" / speaker
    if not transcripts.is_dir():
        yield from (Skip(id, "speaker_without_transcripts", True, f"no txt/{speaker}") for id, _ in audio)
        return
    texts = {path.stem: path for path in base.entries(transcripts) if path.suffix == ".txt"}
    other = MICROPHONES[1 - MICROPHONES.index(mic)]
    if not audio and _audio_files(audio_folder / speaker, other):
        yield from (Skip(id, f"speaker_without_{mic}", True, f"{speaker} was recorded with {other}") for id in texts)
        return
    for id, path in audio:
        if id in texts:
            yield _utterance(id, path, texts[id], speaker)
        else:
            yield Skip(id, "missing_transcript", detail=f"no txt/{speaker}/{id}.txt")
    for id in texts.keys() - {id for id, _ in audio}:
        yield Skip(id, "missing_audio", detail=f"no {audio_folder.name}/{speaker}/{id}")


def _audio_files(folder: Path, mic: str) -> list[tuple[str, Path]]:
    """The id and path of each recording; of names that end in a microphone, only those of `mic`."""
    return sorted(_matching(folder, mic)) if folder.is_dir() else []


def _matching(folder: Path, mic: str) -> Iterator[tuple[str, Path]]:
    for path in base.entries(folder):
        if path.suffix.lower() in base.AUDIO_SUFFIXES:
            name = re.fullmatch(r"(.+?)(?:_(mic\d))?", path.stem)
            if name and name[2] in (None, mic):
                yield name[1], path


def _utterance(id: str, audio: Path, transcript: Path, speaker: str) -> Utterance | Skip:
    try:
        return Utterance(id, str(audio), base.read_text(transcript), speaker)
    except (OSError, UnicodeDecodeError) as error:
        return Skip(id, "unreadable_transcript", detail=f"{transcript}: {error}")
