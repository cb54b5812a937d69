"""Alignments as Praat TextGrids: the tiers `words` and `phones`, as the Montreal Forced Aligner writes them too.

The format is that of Praat's long text files (Boersma and Weenink, Praat manual, "TextGrid file formats"). An interval
of silence has an empty text in both tiers.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class TierInterval(NamedTuple):
    """A part of a tier: its end in seconds, and its text; it starts where the one before it ends."""

    end_seconds: float
    text: str


def intervals(texts: Iterable[str], ends: Iterable[int], sample_rate_hz: int) -> list[TierInterval]:
    """The intervals of texts that end at samples."""
    return [TierInterval(int(end) / sample_rate_hz, text) for text, end in zip(texts, ends, strict=True)]


def format(tiers: dict[str, Sequence[TierInterval]]) -> str:
    """A TextGrid as text.

    Args:
      tiers: intervals by the name of their tier; all tiers end at the same time.
    """
    end = max(tier[-1].end_seconds for tier in tiers.values())
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {_number(end)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, tier) in enumerate(tiers.items(), 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {_number(end)}", f"        intervals: size = {len(tier)}"]
        start = 0.0
        for place, interval in enumerate(tier, 1):
            lines += [
                f"        intervals [{place}]:",
                f"            xmin = {_number(start)}",
                f"            xmax = {_number(interval.end_seconds)}",
                f"            text = {_quoted(interval.text)}",
            ]
            start = interval.end_seconds
    return "\n".join(lines) + "\n"


def _number(seconds: float) -> str:
    return f"{seconds:.7f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
