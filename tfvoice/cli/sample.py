"""Generates audio with a trained model, sample by sample.

  tfvoice_sample --run=runs/piano --output=samples --seconds=5 --count=4

Writes sample-000.wav and on, and samples.png with their waveforms and spectrograms. The same seed gives the same
files; `sample-002` is the same whether it is one of 3 or one of 100. Levels are as the model draws them.

A temperature below 1 keeps to what is likely, one above 1 dares more; several are points of a line over the length.
With a prime, the audio goes on where that recording ends:

  tfvoice_sample --run=runs/piano --output=on --prime=sonata.flac --temperature=0.9,1.1 --top_p=0.95 --seconds=30
"""

import signal

from tfvoice.cli.flags import Flags, UsageError, load_tensorflow

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train --model=sample_rnn.", shape="DIR", required=True)
OUTPUT = FLAGS.string("output", "Folder for the files; made if absent.", shape="DIR", required=True)
SECONDS = FLAGS.number("seconds", "Length of each recording; hours take no more memory than seconds.", 5.0, 0)
COUNT = FLAGS.integer("count", "How many recordings.", 4, 1)
TEMPERATURE = FLAGS.string(
    "temperature", "A number of at least 0.0001, or several with commas between them.", "1.0", "X[,X...]"
)
TOP_P = FLAGS.number("top_p", "Draw among the likeliest levels that have this share of the probability.", 1.0, 0)
SEED = FLAGS.integer("seed", "Of the random numbers.", 0, 0)
PRIME = FLAGS.string("prime", "Recording to go on from, of any rate.", shape="FILE")
FORMAT = FLAGS.choice("format", ["wav", "flac"], "Of the files, 16 bits both.", "wav")
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is by bits per sample on valid.", "best")
OVERWRITE = FLAGS.boolean("overwrite", "Replace files of these names.")


def main(_: list[str]) -> None:
    """Calls `sampling.sample`."""
    try:
        temperature = tuple(float(part) for part in TEMPERATURE.value.split(","))
    except ValueError:
        raise UsageError(
            f"--temperature={TEMPERATURE.value}: write a number, or several with commas between them, such as 0.9,1.1."
        ) from None
    load_tensorflow()
    from tfvoice.generation import sample

    # Ends it as Ctrl-C does, which keeps what was drawn.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    how = sample.Draw(temperature, TOP_P.value, SEED.value)
    paths = sample.sample(
        RUN.value,
        OUTPUT.value,
        SECONDS.value,
        COUNT.value,
        how,
        PRIME.value,
        FORMAT.value,
        CHECKPOINT.value,
        OVERWRITE.value,
    )
    to = f" to {paths[-1].name}" if len(paths) > 1 else ""
    print(f"{paths[0]}{to}, {SECONDS.value:g} s each; see {OUTPUT.value}/samples.png")
