"""What every corpus is read into: utterances, the reasons why some are left out, and splits by hash."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfvoice.errors import TfvoiceError

SPLITS = ("train", "valid", "test")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class CorpusError(TfvoiceError):
    """A folder, a manifest or a flag from which no corpus can be read."""


@dataclass(frozen=True)
class Utterance:
    """One recording and what is said in it.

    Attributes:
      id: unique in its corpus.
      audio: path of the audio file.
      text: the transcript as the corpus has it, without surrounding blanks.
      speaker: name of the speaker, or "".
      split: `train`, `valid`, `test` or a name of the corpus's own; "" until one is assigned.
      start_seconds: where the utterance begins in a file that holds several; None where it is the whole file.
      seconds: its length as far as the corpus states it.
      bare_hz: sample rate of a file that is nothing but 16-bit samples; None where a header tells.
    """

    id: str
    audio: str
    text: str
    speaker: str = ""
    split: str = ""
    start_seconds: float | None = None
    seconds: float | None = None
    bare_hz: int | None = None


@dataclass(frozen=True)
class Skip:
    """Something that is left out.

    Attributes:
      id_or_path: the utterance or the file.
      reason: short snake_case, to count by.
      expected: a known defect of the corpus, which does not count as bad.
      detail: the fact, for people.
    """

    id_or_path: str
    reason: str
    expected: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Listing:
    """What a reader finds: every utterance that should be there is in one of the two lists.

    Attributes:
      utterances: sorted by id.
      skipped: what is left out already.
      speakers: facts about each speaker, as far as the corpus states any.
    """

    utterances: list[Utterance]
    skipped: list[Skip]
    speakers: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def expected(self) -> int:
        """Number of utterances that the corpus should have given, known defects aside."""
        return len(self.utterances) + sum(not skip.expected for skip in self.skipped)


@dataclass(frozen=True)
class Corpus:
    """An entry of the table of corpora.

    Attributes:
      read: turns `--input` into a Listing; takes the options below as keyword arguments.
      summary: the expected tree in one line, for the help text.
      split_by: what is kept together in a split unless `--split_by` says otherwise.
      options: names of the flags that belong to this corpus.
      model: what it is most likely wanted for.
    """

    read: Callable[..., Listing]
    summary: str
    split_by: str
    options: tuple[str, ...] = ()
    model: str = "wavenet_asr"


def checked(
    utterances: Iterable[Utterance],
    skipped: Iterable[Skip],
    speakers: dict[str, dict[str, str]] | None = None,
    with_text: bool = True,
) -> Listing:
    """Sorts a reader's finds by id; takes out empty transcripts, ids that came before, and what is not Unicode.

    Args:
      utterances: in any order.
      skipped: what the reader has left out itself.
      speakers: facts about them.
      with_text: whether an empty transcript is a defect.
    """
    kept: list[Utterance] = []
    skips = list(skipped)
    for utterance in sorted(utterances, key=lambda utterance: (utterance.id, utterance.audio)):
        if not _is_unicode(utterance):
            shown = utterance.id.encode("ascii", "backslashreplace").decode()
            skips.append(Skip(shown, "not_unicode", detail="its id, speaker or text holds half a character"))
        elif with_text and not utterance.text:
            skips.append(Skip(utterance.id, "empty_transcript", detail=f"no text for {utterance.audio}"))
        elif kept and kept[-1].id == utterance.id:
            skips.append(Skip(utterance.id, "duplicate_id", detail=f"{utterance.audio} and {kept[-1].audio}"))
        else:
            kept.append(utterance)
    return Listing(kept, sorted(skips, key=lambda skip: (skip.id_or_path, skip.reason)), speakers or {})


def _is_unicode(utterance: Utterance) -> bool:
    try:
        return bool((utterance.id + utterance.speaker + utterance.text).encode())
    except UnicodeEncodeError:
        return False


def read_text(path: Path) -> str:
    """Reads a transcript file: UTF-8 with or without a byte order mark, surrounding blanks taken off.

    Raises:
      OSError, UnicodeDecodeError: the file cannot be read, or is not UTF-8.
    """
    return path.read_text(encoding="utf-8-sig").strip()


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a file that came in a corpus's archive; raises `CorpusError` where it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 ({error}); unpack the archive again.") from None


def find_tree(source: Path, wanted: Callable[[Path], bool], what: str) -> Path:
    """Finds the folder that satisfies `wanted`: `source` itself, or exactly one of its subfolders.

    Raises:
      CorpusError: there is none, or more than one; `what` says in the text what was looked for.
    """
    if not source.is_dir():
        raise CorpusError(f"{source}: there is no such folder; name the one that holds {what} with --input.")
    if wanted(source):
        return source
    found = sorted(child for child in source.iterdir() if child.is_dir() and wanted(child))
    if not found:
        raise CorpusError(
            f"{source}: looked for {what}, in it and in its subfolders, and found no such folder; name it with --input."
        )
    if len(found) > 1:
        raise CorpusError(f"{source}: {found[0].name} and {found[1].name} both hold {what}; choose: --input={found[0]}")
    return found[0]


def parse_split(text: str) -> dict[str, float]:
    """Turns `90/5/5` into the fraction of each of `SPLITS`.

    Raises:
      CorpusError: it is not two or three numbers that add up to 100.
    """
    try:
        percentages = [float(part) for part in text.split("/")]
    except ValueError:
        percentages = []
    if len(percentages) not in (2, 3) or min(percentages) < 0 or abs(sum(percentages) - 100) > 1e-6:
        raise CorpusError(
            f"--split={text}: write the percentages of train, valid and test, which add up to 100, "
            "for example --split=90/5/5."
        )
    return {split: percentage / 100 for split, percentage in zip(SPLITS, percentages, strict=False)}


def sentence_key(text: str) -> str:
    """What remains of a sentence when case, accents, blanks and punctuation are ignored."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
    return letters or text


def assign_split(utterance: Utterance, fractions: dict[str, float], by: str) -> str:
    """Draws the split of an utterance by hash.

    The draw depends on nothing else, so an utterance stays where it is when the corpus grows or a file goes missing.

    Args:
      utterance: its own `split`, where it has one, is kept.
      fractions: of each split, adding up to 1.
      by: `speaker`, `text` (same `sentence_key`) or `utterance`: what always falls into the same split.

    Returns:
      A key of `fractions`, or the utterance's own split.
    """
    if utterance.split:
        return utterance.split
    key = {"speaker": utterance.speaker, "text": sentence_key(utterance.text), "utterance": utterance.id}[by]
    draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    for split, fraction in fractions.items():
        if draw < fraction:
            return split
        draw -= fraction
    return max(fractions, key=fractions.__getitem__)


def with_splits(listing: Listing, fractions: dict[str, float], by: str) -> Listing:
    """Assigns every utterance its split."""
    utterances = [replace(u, split=assign_split(u, fractions, by)) for u in listing.utterances]
    return replace(listing, utterances=utterances)


def reasons(skipped: Iterable[Skip], expected: bool) -> dict[str, int]:
    """Counts skips by reason, the most frequent first; either the known defects or the rest."""
    counts = Counter(skip.reason for skip in skipped if skip.expected == expected)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
