"""Aligns the texts of records with their audio: writes records that also say where each phoneme lies, and the F0.

  tfvoice_align --run=runs/segmentation --data=records --output=records_aligned

The run is one of tfvoice_train --model=segmentation, mostly on the same records. Every split is aligned. What cannot
be aligned, or only improbably, is skipped and listed with the reason in `skipped.jsonl`: texts without words or with
words that no lexicon has, clips shorter than their phonemes, audio that is not what its text says. A run that
recognises hardly any phoneme of the records aligns nothing. The same command resumes an alignment that was stopped.

  tfvoice_align --run=runs/segmentation --data=records --output=records_aligned --textgrid=grids --figures=figures

--textgrid writes a Praat TextGrid of each utterance, --figures plots of the four least probable utterances of each
split that were not skipped, and of two typical ones: spectrogram, phonemes, F0, and the score in the title.
"""

import os

from tfvoice import hardware
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags
from tfvoice.data import shards

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train --model=segmentation.", metavar="DIR", required=True)
DATA = FLAGS.string("data", "Folder that tfvoice_convert wrote.", metavar="DIR", required=True)
OUTPUT = FLAGS.string("output", "Folder for the aligned records, a new or an empty one.", metavar="DIR", required=True)
CHECKPOINT = FLAGS.choice(
    "checkpoint", ["best", "last"], "Which weights; best is the lowest pair error rate on valid.", "best"
)
F0 = FLAGS.choice("f0", ["pyin", "world"], "How F0 is estimated; world needs pip install 'tfvoice[pyworld]'.", "pyin")
MIN_HZ = FLAGS.number("min_hz", "Lowest F0 of the voice.", 60, 20)
MAX_HZ = FLAGS.number("max_hz", "Highest F0 of the voice.", 500, 40)
FRAME_SAMPLES = FLAGS.integer("frame_samples", "Samples of a conditioning frame, which has one value of F0.", 64, 1)
MIN_SCORE = FLAGS.string(
    "min_score",
    "Skip alignments of a lower score, in nats per frame; 0 is the best. Default: the median of all scores less 6 "
    "deviations, and never above -0.15.",
    metavar="X",
)
WORKERS = FLAGS.integer(
    "workers", "Parallel processes for F0; the output does not depend on their number.", hardware.cores(), 1
)
TEXTGRID = FLAGS.string("textgrid", "Folder for a Praat TextGrid of each utterance.", metavar="DIR")
FIGURES = FLAGS.string(
    "figures",
    "Folder for plots of the 4 least probable utterances of each split that were not skipped, and of 2 typical ones.",
    metavar="DIR",
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace an alignment in --output.")


def main(_: list[str]) -> None:
    """Calls `align.align_corpus`, and writes TextGrids and figures of what it wrote."""
    load_tensorflow()
    from tfvoice import compiled, tasks
    from tfvoice.audio.f0 import F0Config
    from tfvoice.config import build
    from tfvoice.tts import align, alignment_output

    compiled.announce()
    run = tasks.load(RUN.value, CHECKPOINT.value, "tfvoice_align")
    names = {"method": F0, "min_hz": MIN_HZ, "max_hz": MAX_HZ, "frame_samples": FRAME_SAMPLES}
    f0 = build(F0Config, {name: flag.value for name, flag in names.items()}, "flags")
    settings = align.AlignmentSettings(f0, align.parse_score(MIN_SCORE.value))
    was_complete = not OVERWRITE.value and os.path.exists(os.path.join(OUTPUT.value, shards.MANIFEST))
    try:
        manifest, skipped = align.align_corpus(run, DATA.value, OUTPUT.value, settings, WORKERS.value, OVERWRITE.value)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command resumes it.") from None
    if was_complete:
        print("nothing to do: this alignment is already complete.")
    print(alignment_output.summary(OUTPUT.value, manifest, skipped))
    if TEXTGRID.value:
        print(f"{alignment_output.write_textgrids(OUTPUT.value, TEXTGRID.value, run)} TextGrids in {TEXTGRID.value}")
    if FIGURES.value:
        for path in alignment_output.write_figures(OUTPUT.value, FIGURES.value):
            print(path)
