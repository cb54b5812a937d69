"""Readers of corpora; `CORPORA` lists the values of `--corpus`."""

from tfvoice.data.corpora import (
    an4,
    audio_folder,
    common_voice,
    librispeech,
    ljspeech,
    manifest,
    tedlium,
    vctk,
    voxforge,
)
from tfvoice.data.corpora.base import Corpus

CORPORA = {
    "vctk": Corpus(vctk.read, "wav48/ and txt/ (0.80), or wav48_silence_trimmed/ and txt/ (0.92)", "speaker", ("mic",)),
    "ljspeech": Corpus(ljspeech.read, "metadata.csv and wavs/", "utterance"),
    "librispeech": Corpus(
        librispeech.read, "train-clean-100/, dev-clean/, test-clean/ or others of its subsets; also LibriTTS", "speaker"
    ),
    "an4": Corpus(an4.read, "etc/an4_train.transcription, etc/an4_test.transcription and wav/", "utterance"),
    "common_voice": Corpus(
        common_voice.read, "train.tsv, dev.tsv, test.tsv (or validated.tsv) and clips/", "speaker", ("clips",)
    ),
    "tedlium": Corpus(tedlium.read, "train/, dev/ and test/, each with sph/ and stm/", "speaker"),
    "voxforge": Corpus(voxforge.read, "folders with etc/prompts-original or etc/PROMPTS, and wav/ or flac/", "speaker"),
    "manifest": Corpus(
        manifest.read, "a CSV, TSV, JSON or JSON-lines file, or a folder with train.*, valid.*, test.*", "utterance"
    ),
    "audio": Corpus(
        audio_folder.read,
        "a folder of music or speech without transcripts, cut into clips",
        "utterance",
        ("clip_seconds",),
        "sample_rnn",
    ),
}
