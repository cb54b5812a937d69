"""Makes a small German corpus with espeak-ng, to measure fine-tuning from English to another alphabet.

  python tests/benchmarks/german_corpus.py --output=german --utterances=600

The sentences come from a small grammar of times, dates, prices and places, which has every letter of German; texts do
not repeat. Voice variant, speed and pitch vary. `manifest.tsv` has the columns `audio`, `text` and `speaker`.
"""

import argparse
import random
import subprocess
from pathlib import Path

WORDS = """
ones: null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn
ones: achtzehn neunzehn
tens: zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig
day: montag dienstag mittwoch donnerstag freitag samstag sonntag
month: januar februar märz april mai juni juli august september oktober november dezember
name: jörg käthe xenia quintus xaver yvonne günther björn wolfgang jürgen bärbel jutta felix peggy
place: köln münchen würzburg jena gießen lübeck quakenbrück cuxhaven bayreuth düsseldorf osnabrück weißenfels
things: bücher äpfel schlüssel fahrräder gläser stühle zwiebeln hefte jacken kissen körbe strümpfe züge boxen
verb: kauft sucht verliert zählt verschenkt öffnet malt findet bringt trägt prüft
size: größer schöner kälter älter jünger höher süßer weißer bequemer
"""
FORMS = (
    "am {day} um {hour} uhr {minute}",
    "{name} {verb} {count} {things}",
    "der zug nach {place} fährt im {month} auf gleis {minute}",
    "das kostet {count} euro und {minute} cent",
    "{name} aus {place} ist {size} als {other}",
    "im {month} {verb} {name} in {place} die {things}",
)
VARIANTS = ("de", "de+f2", "de+f3", "de+m3", "de+m5", "de+m7")


def word_lists() -> dict[str, list[str]]:
    """`WORDS` by kind."""
    lists: dict[str, list[str]] = {}
    for line in WORDS.strip().splitlines():
        kind, _, words = line.partition(":")
        lists.setdefault(kind, []).extend(words.split())
    return lists


LISTS = word_lists()


def number(value: int) -> str:
    """A number below 1000 in words."""
    if value >= 100:
        rest = number(value % 100) if value % 100 else ""
        return ("ein" if value // 100 == 1 else LISTS["ones"][value // 100]) + "hundert" + rest
    if value < 20:
        return LISTS["ones"][value]
    ones = "" if value % 10 == 0 else ("ein" if value % 10 == 1 else LISTS["ones"][value % 10]) + "und"
    return ones + LISTS["tens"][value // 10 - 2]


def sentence(pick: random.Random) -> str:
    """A sentence of the grammar."""
    values = {kind: pick.choice(words) for kind, words in LISTS.items()}
    numbers = {name: number(pick.randint(2, top)) for name, top in (("hour", 23), ("minute", 59), ("count", 999))}
    return pick.choice(FORMS).format(**values, **numbers, other=pick.choice(LISTS["name"]))


def main() -> None:
    """Writes the recordings and `manifest.tsv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path)
    parser.add_argument("--utterances", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    pick = random.Random(flags.seed)
    texts: dict[str, None] = {}
    while len(texts) < flags.utterances:
        texts[sentence(pick)] = None
    flags.output.mkdir(parents=True)
    rows = ["audio\ttext\tspeaker"]
    for index, text in enumerate(texts):
        voice, name = pick.choice(VARIANTS), f"{index:04d}.wav"
        speed, pitch = str(pick.randint(130, 180)), str(pick.randint(35, 65))
        command = ["espeak-ng", "-v", voice, "-s", speed, "-p", pitch, "-w", str(flags.output / name), text]
        subprocess.run(command, check=True)
        rows.append(f"{name}\t{text}\t{voice}")
    (flags.output / "manifest.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
