"""Corpora in, records out; `CORPORA` is the table of what `--corpus` can name."""

from tfvoice.data import ljspeech, manifest, vctk
from tfvoice.data.corpus import Corpus

CORPORA = {
    "vctk": Corpus(vctk.read, "wav48/ and txt/ (0.80), or wav48_silence_trimmed/ and txt/ (0.92)", "speaker", ("mic",)),
    "ljspeech": Corpus(ljspeech.read, "metadata.csv and wavs/", "utterance"),
    "manifest": Corpus(
        manifest.read, "a CSV, TSV, JSON or JSON-lines file, or a folder with train.*, valid.*, test.*", "utterance"
    ),
}
