"""Generates audio with a trained SampleRNN, sample by sample.

  tfvoice_sample --run=runs/piano --output=samples --seconds=5 --count=4

Writes sample-000.wav, sample-001.wav and so on, and samples.png with their waveforms and spectrograms. The same seed
gives the same files, and `sample-002` is the same file whatever --count is. The level of the audio is not normalised.

A temperature below 1 favours likely samples more, one above 1 less; several temperatures are interpolated linearly
over the length. With a prime, the audio continues that recording:

  tfvoice_sample --run=runs/piano --output=on --prime=sonata.flac --temperature=0.9,1.1 --top_p=0.95 --seconds=30
"""

import signal

from tfvoice import handlers
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train --model=sample_rnn.", metavar="DIR", required=True)
OUTPUT = FLAGS.string("output", "Folder of the files; created if it does not exist.", metavar="DIR", required=True)
SECONDS = FLAGS.number("seconds", "Length of each file; hours take no more memory than seconds.", 5.0, 0)
COUNT = FLAGS.integer("count", "How many files.", 4, 1)
TEMPERATURE = FLAGS.string(
    "temperature", "A number of at least 0.0001, or several with commas between them.", "1.0", "X[,X...]"
)
TOP_P = FLAGS.number("top_p", "Nucleus sampling: only the likeliest levels with this total probability.", 1.0, 0)
SEED = FLAGS.integer("seed", "Seed of the random numbers.", 0, 0)
PRIME = FLAGS.string("prime", "Recording to continue, of any sample rate.", metavar="FILE")
FORMAT = FLAGS.choice("format", ["wav", "flac"], "Format of the files, both with 16 bits.", "wav")
CHECKPOINT = FLAGS.choice(
    "checkpoint", ["best", "last"], "Which weights; best is the lowest bits per sample on valid.", "best"
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace files of these names.")


def main(_: list[str]) -> None:
    """Calls `sample.sample`."""
    try:
        temperature = tuple(float(part) for part in TEMPERATURE.value.split(","))
    except ValueError:
        raise UsageError(
            f"--temperature={TEMPERATURE.value}: write a number, or several with commas between them, such as 0.9,1.1."
        ) from None
    load_tensorflow()
    from tfvoice import compiled, tasks
    from tfvoice.generation import sample

    compiled.announce()
    tasks.of_run(RUN.value, "tfvoice_sample")
    options = sample.SamplingOptions(temperature, TOP_P.value, SEED.value)
    # SIGTERM ends it as Ctrl-C does: the audio that has been generated is kept.
    with handlers.handler(signal.SIGTERM, signal.default_int_handler):
        paths = sample.sample(
            RUN.value,
            OUTPUT.value,
            SECONDS.value,
            COUNT.value,
            options,
            PRIME.value,
            FORMAT.value,
            CHECKPOINT.value,
            OVERWRITE.value,
        )
    last = f" to {paths[-1].name}" if len(paths) > 1 else ""
    print(f"{paths[0]}{last}, {SECONDS.value:g} s each; see {OUTPUT.value}/samples.png")
