"""What every corpus is read into: utterances, skipped utterances with their reasons, and splits by hash."""

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfvoice import storage
from tfvoice.data import sorting
from tfvoice.data.sorting import SortedLines
from tfvoice.errors import TfvoiceError
from tfvoice.storage import Place

SPLITS = ("train", "valid", "test")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


class CorpusError(TfvoiceError):
    """A folder, manifest or flag from which no corpus can be read."""


@dataclass(frozen=True)
class Utterance:
    """One recording and its transcript.

    Attributes:
      id: unique in its corpus.
      audio: path of the audio file.
      text: the transcript as the corpus has it, without surrounding blanks.
      speaker: name of the speaker, or "".
      split: `train`, `valid`, `test` or a split that the corpus defines; "" until one is assigned.
      start_seconds: start of the utterance in a longer recording; None where it is the whole file.
      seconds: duration, where the corpus states it; once planned, an estimate where it does not.
      to_end: the audio is read to its end, so that `seconds` is an estimate.
      bare_hz: sample rate of a file of 16-bit samples without a header; None where there is a header.
    """

    id: str
    audio: str
    text: str
    speaker: str = ""
    split: str = ""
    start_seconds: float | None = None
    seconds: float | None = None
    bare_hz: int | None = None
    to_end: bool = False


@dataclass(frozen=True)
class Skip:
    """A skipped utterance.

    Attributes:
      id_or_path: of the utterance, or of its file.
      reason: short, in snake_case; skips are counted by it.
      expected: whether it is a known defect of the corpus, which does not count as bad.
      detail: what exactly is wrong, for the user.
    """

    id_or_path: str
    reason: str
    expected: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Listing:
    """The content of a corpus: each of its utterances is in one of the two lists.

    Attributes:
      utterances: any collection that can be iterated over again. Sorted by id, in which control characters, quotation
        marks and backslashes are escaped.
      skipped: sorted by id, then by reason.
      speakers: metadata of each speaker, as far as the corpus has any.
      notes: sentences for the user about what the reader chose.
    """

    utterances: Collection[Utterance]
    skipped: list[Skip]
    speakers: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def expected(self) -> int:
        """Number of utterances of an intact corpus, not counting known defects."""
        return len(self.utterances) + sum(not skip.expected for skip in self.skipped)


@dataclass(frozen=True)
class Corpus:
    """An entry of the table of corpora.

    Attributes:
      read: turns `--input` into a Listing; takes the options below as keyword arguments.
      summary: the expected folder tree in one line, for the help text.
      split_by: default of `--split_by`.
      options: names of the flags of this corpus alone.
      model: the model that `tfvoice_convert` suggests to train next.
    """

    read: Callable[..., Listing]
    summary: str
    split_by: str
    options: tuple[str, ...] = ()
    model: str = "wavenet_asr"


class _SortedUtterances(Collection):
    """Utterances by id, of which each exists only while it is looked at; `checked` says which are skipped.

    Args:
      lines: of `_lines`.
      with_text: whether those without a text are skipped.
    """

    def __init__(self, lines: SortedLines, with_text: bool):
        self._lines, self._with_text = lines, with_text
        self.skipped: list[Skip] = []
        self._count = sum(1 for _ in self._kept(self.skipped.append))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, utterance: object) -> bool:
        return any(utterance == each for each in self)

    def __iter__(self) -> Iterator[Utterance]:
        return self._kept(lambda skip: None)

    def _kept(self, skip: Callable[[Skip], None]) -> Iterator[Utterance]:
        before = None
        for utterance in map(_parsed, self._lines):
            if self._with_text and not utterance.text:
                skip(Skip(utterance.id, "empty_transcript", detail=f"no text for {printable(utterance.audio)}"))
            elif before and before.id == utterance.id:
                detail = printable(f"{utterance.audio} and {before.audio}")
                skip(Skip(utterance.id, "duplicate_id", detail=detail))
            else:
                before = utterance
                yield utterance


def checked(
    items: Iterable[Utterance | Skip],
    speakers: dict[str, dict[str, str]] | None = None,
    with_text: bool = True,
) -> Listing:
    """Makes a Listing: sorts by id, and skips empty transcripts, duplicate ids, and text that is not Unicode.

    Args:
      items: what the reader found, in any order. A large corpus is sorted on the disk, and stays there.
      speakers: their metadata.
      with_text: whether an empty transcript is a defect.
    """
    skips: list[Skip] = []
    kept = _SortedUtterances(SortedLines(_lines(items, skips)), with_text)
    skips = sorted([*skips, *kept.skipped], key=lambda skip: (skip.id_or_path, skip.reason))
    return Listing(list(kept) if len(kept) <= sorting.LINES_IN_MEMORY else kept, skips, speakers or {})


def _lines(items: Iterable[Utterance | Skip], skips: list[Skip]) -> Iterator[str]:
    """Yields a line for each utterance, and collects the skips; what cannot be stored becomes one.

    Sorted as text, lines are in the order of the ids, then of the audio, then of the items. JSON escapes tabs.
    """
    for number, item in enumerate(items):
        if isinstance(item, Skip):
            skips.append(replace(item, id_or_path=printable(item.id_or_path), detail=printable(item.detail)))
            continue
        u = replace(item, id=printable(item.id), speaker=printable(item.speaker))
        if _is_unicode(u):
            names = (json.dumps(name, ensure_ascii=False)[1:-1] for name in (u.id, u.audio))
            rest = json.dumps([u.text, u.speaker, u.split, u.start_seconds, u.seconds, u.bare_hz, u.to_end])
            yield "\t".join([*names, f"{number:012}", rest])
        else:
            shown = u.id.encode("ascii", "backslashreplace").decode()
            skips.append(Skip(shown, "not_unicode", detail="its id, speaker or text holds half a character"))


def _parsed(line: str) -> Utterance:
    id, audio, _, rest = line.split("\t")
    return Utterance(*json.loads(f'["{id}", "{audio}", {rest[1:]}'))


def _is_unicode(utterance: Utterance) -> bool:
    try:
        return bool((utterance.id + utterance.speaker + utterance.text).encode())
    except UnicodeEncodeError:
        return False


def printable(name: str) -> str:
    r"""A file name as text that can be printed and stored: a byte that is not UTF-8 becomes `\xe9`."""
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        # Half a character that comes from no file name.
        return name.encode("utf-8", "backslashreplace").decode()


def entries(folder: Place) -> list[Place]:
    """What is in a folder, sorted; names that begin with a dot are not there, as in `storage.walk`."""
    return sorted(path for path in folder.iterdir() if storage.is_visible(path.name))


def read_text(path: Place) -> str:
    """Reads a transcript file: UTF-8 with or without a byte order mark, without surrounding blanks.

    Raises:
      OSError, UnicodeDecodeError: the file cannot be read, or is not UTF-8.
    """
    return path.read_text(encoding="utf-8-sig").strip()


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a UTF-8 file of a corpus; raises `CorpusError` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); unpack the archive again.") from None


def find_tree(source: Path, is_root: Callable[[Path], bool], what: str) -> Path:
    """Finds the root of a corpus: `source` itself, or exactly one of its subfolders.

    Args:
      source: `--input`.
      is_root: whether a folder is the root.
      what: the content of the root, for the error message.

    Raises:
      CorpusError: there is no such folder, or more than one.
    """
    check_folder(source, what)
    if is_root(source):
        return source
    roots = [child for child in entries(source) if child.is_dir() and is_root(child)]
    if not roots:
        for child in entries(source):
            refuse_archive(child)
        raise CorpusError(
            f"{source}: looked for {what}, in it and in its subfolders, and found no such folder; name it with --input."
        )
    if len(roots) > 1:
        raise CorpusError(f"{source}: {roots[0].name} and {roots[1].name} both hold {what}; choose: --input={roots[0]}")
    return roots[0]


def check_folder(source: Path, what: str) -> None:
    """Raises `CorpusError` where `--input`, the folder that holds `what`, is no folder."""
    refuse_archive(source)
    if not source.is_dir():
        fact = "this is a file; name the folder" if source.is_file() else "there is no such folder; name the one"
        raise CorpusError(f"{source}: {fact} that holds {what} with --input.")


def refuse_archive(path: Place) -> None:
    """Raises `CorpusError` where a file is an archive, by its name."""
    if path.name.lower().endswith(_ARCHIVES) and path.is_file():
        unpack = "tar -xf" if ".t" in path.name.lower() else "unzip" if path.suffix.lower() == ".zip" else "7z x"
        raise CorpusError(
            f"{path}: is an archive; unpack it, for example with {unpack} {path.name}, and name its folder."
        )


def parse_split(text: str) -> dict[str, float]:
    """Turns `90/5/5` into the fraction of each of `SPLITS`.

    Raises:
      CorpusError: it is not two or three numbers that add up to 100.
    """
    try:
        percentages = [float(part) for part in text.split("/")]
    except ValueError:
        percentages = []
    if len(percentages) not in (2, 3) or min(percentages) < 0 or not abs(sum(percentages) - 100) <= 1e-6:
        raise CorpusError(
            f"--split={text}: write the percentages of train, valid and test, which add up to 100, "
            "for example --split=90/5/5."
        )
    return {split: percentage / 100 for split, percentage in zip(SPLITS, percentages, strict=False)}


def sentence_key(text: str) -> str:
    """The letters and digits of a sentence, without case and accents; the sentence itself where it has none."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
    return letters or text


def assign_split(utterance: Utterance, fractions: dict[str, float], by: str) -> str:
    """Assigns an utterance to a split by hash.

    The split depends on the hash alone, so that an utterance keeps it when the corpus grows or a file goes missing.

    Args:
      utterance: a split that it has already is kept.
      fractions: of each split, adding up to 1.
      by: `speaker`, `text` (its `sentence_key`) or `utterance` (its id): what is hashed, and so kept in one split.

    Returns:
      A key of `fractions`, or the split of the utterance.
    """
    if utterance.split:
        return utterance.split
    position = _position(_group(utterance, by))
    for split, fraction in fractions.items():
        if position < fraction:
            return split
        position -= fraction
    return max(fractions, key=fractions.__getitem__)


def with_splits(utterances: Collection[Utterance], fractions: dict[str, float], by: str) -> Iterator[Utterance]:
    """Yields every utterance with its split.

    In a small corpus the hash can leave a split empty. It then gets the sentence or utterance whose hash is nearest to
    its own, as long as the split of that keeps another one. Speakers are not moved: one of few is too much of a corpus.
    """
    if by == "speaker" or not _missing(utterances, fractions, by) or any(utterance.split for utterance in utterances):
        yield from (replace(u, split=assign_split(u, fractions, by)) for u in utterances)
        return
    groups = {_group(u, by): assign_split(u, fractions, by) for u in utterances}
    _fill(groups, fractions)
    yield from (replace(u, split=groups[_group(u, by)]) for u in utterances)


def _missing(utterances: Iterable[Utterance], fractions: dict[str, float], by: str) -> set[str]:
    """The splits that the hash leaves empty; the first few utterances of a large corpus tell that there is none."""
    missing = {split for split, fraction in fractions.items() if fraction}
    for utterance in utterances:
        missing.discard(assign_split(utterance, fractions, by))
        if not missing:
            break
    return missing


def _group(utterance: Utterance, by: str) -> str:
    """What is kept in one split."""
    return {"speaker": utterance.speaker, "text": sentence_key(utterance.text), "utterance": utterance.id}[by]


def _position(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def _fill(groups: dict[str, str], fractions: dict[str, float]) -> None:
    """Moves a group into each split that should have one and has none."""
    start = 0.0
    for split, fraction in fractions.items():
        counts = Counter(groups.values())
        movable = [group for group, other in groups.items() if counts[other] > 1]
        if fraction and not counts[split] and movable:
            middle = start + fraction / 2
            groups[min(movable, key=lambda group: (abs(_position(group) - middle), group))] = split
        start += fraction


def reasons(skipped: Iterable[Skip], expected: bool) -> dict[str, int]:
    """Counts skips by reason, the most frequent first: the known defects, or the others."""
    counts = Counter(skip.reason for skip in skipped if skip.expected == expected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
