"""Converts a corpus to TFRecord shards, the data of tfvoice_train and tfvoice_eval.

  tfvoice_convert --corpus=vctk --input=VCTK-Corpus --output=vctk_records

Audio is mixed to mono and resampled; text is kept as it is in the corpus. The same command resumes a conversion that
was stopped or killed. A recording that cannot be used is skipped and listed with the reason in `skipped.jsonl`.

Corpora:
{corpora}

Splits are assigned by a hash. With `--split_by=speaker` the test speakers are not in the training data. The speakers of
VCTK, however, read the same sentences: only with `--split_by=text` are the test sentences not in the training data.

  tfvoice_convert --corpus=manifest --input=train.tsv,valid.tsv,test.tsv --output=records
  tfvoice_convert --validate --output=records

With `--engine=beam` the shards are converted by Apache Beam, on a cluster that sees the corpus and the output folder
under the same paths; the output is the same. What follows after `--` are options of Beam:

  tfvoice_convert --corpus=vctk --input=/corpora/vctk --output=/records/vctk --engine=beam -- --runner=FlinkRunner

After pip install 'tfvoice[s3]' or 'tfvoice[gs]', --output and the files of --corpus=manifest can be URLs:

  tfvoice_convert --corpus=manifest --input=s3://bucket/train.jsonl --output=s3://bucket/records
"""

import os
import shlex
from pathlib import Path

import tqdm

from tfvoice import config, hardware, remote, storage
from tfvoice.cli.flags import Flags, UsageError
from tfvoice.data import convert, shards
from tfvoice.data.corpora import CORPORA, base, common_voice
from tfvoice.data.planning import ConversionPlan

__doc__ = __doc__.format(corpora="\n".join(f"  {name:<12} {entry.summary}" for name, entry in CORPORA.items()))


_DEFAULT = shards.ConversionConfig()
# Of a split that stays empty.
_WAYS_OUT = {
    "speaker": "try --split_by=text",
    "text": "the corpus has too few sentences; try --split_by=utterance",
    "utterance": "the corpus has too few recordings; add some, or leave that split out, for example with --split=50/50",
}
_BY_SPEAKER = ", ".join(name for name, entry in CORPORA.items() if entry.split_by == "speaker")

FLAGS = Flags("[-- BEAM_OPTIONS]")
CORPUS = FLAGS.choice("corpus", list(CORPORA), "Corpus in --input; see above.")
INPUT = FLAGS.string(
    "input",
    "Folder of the corpus, or manifest files with commas between them, which may be URLs.",
    metavar="DIR",
    url=True,
)
OUTPUT = FLAGS.string(
    "output", "Folder or URL for the shards, a new or an empty one.", metavar="DIR", required=True, url=True
)
SPLIT = FLAGS.string(
    "split", "Percentages of train, valid and test; not used where the corpus has splits.", _DEFAULT.split, "90/5/5"
)
SPLIT_BY = FLAGS.choice(
    "split_by",
    ["speaker", "text", "utterance"],
    "What is never in two splits: a speaker; a sentence, ignoring case and punctuation; an utterance. "
    f"Default: speaker for {_BY_SPEAKER}, otherwise utterance.",
)
RATE = FLAGS.integer("sample_rate_hz", "Sample rate of the shards.", _DEFAULT.sample_rate_hz, 1000)
ENCODING = FLAGS.choice(
    "encoding", ["pcm16", "flac"], "flac takes about half the disk space and longer to load.", _DEFAULT.encoding
)
WORKERS = FLAGS.integer(
    "workers", "Parallel processes; the output does not depend on their number.", hardware.cores(), 1
)
ENGINE = FLAGS.choice(
    "engine", ["local", "beam"], "What runs the conversion: processes of this machine, or Apache Beam.", "local"
)
SHARD_MB = FLAGS.number("shard_mb", "Size of a shard in MB.", _DEFAULT.shard_mb, 0.001)
MAX_SKIPPED = FLAGS.string("max_skipped", "Fail if more than this share of the corpus is skipped.", "1%", "PERCENT")
MIN_SECONDS = FLAGS.number("min_seconds", "Shorter audio is skipped as too_short.", _DEFAULT.min_seconds, 0)
MAX_SECONDS = FLAGS.number("max_seconds", "Longer audio is skipped as too_long.", _DEFAULT.max_seconds, 0.001)
MIC = FLAGS.choice("mic", ["mic1", "mic2"], "Microphone of vctk 0.92. Default: mic1.")
CLIPS = FLAGS.choice(
    "clips",
    list(common_voice.CLIPS),
    "Clips of common_voice: those of train, dev and test.tsv; or all of validated.tsv, of which the others become "
    "train, without those of speakers of dev and test. Default: splits.",
)
CLIP_SECONDS = FLAGS.string("clip_seconds", "Length of the clips of --corpus=audio. Default: 8.", None, "SECONDS")
OVERWRITE = FLAGS.boolean("overwrite", "Replace a conversion in --output.")
DRY_RUN = FLAGS.boolean("dry_run", "Print what would be converted, and write nothing.")
VALIDATE = FLAGS.boolean("validate", "Only verify the checksums of the shards in --output.")


def main(argv: list[str]) -> None:
    """Converts a corpus, prints what would be converted, or validates a conversion."""
    engine = _engine(argv[1:])
    if VALIDATE.value:
        _validate()
        return
    for flag in (CORPUS, INPUT):
        if not flag.value:
            raise UsageError(f"--{flag.name} is missing; for example --corpus=vctk --input=VCTK-Corpus.")
    if remote.is_url(INPUT.value) and CORPUS.value != "manifest":
        raise UsageError(f"--input={INPUT.value}: only --corpus=manifest reads URLs; copy the corpus to this machine.")
    max_skipped = _fraction(MAX_SKIPPED.value)
    entry = CORPORA[CORPUS.value]
    settings = _settings(entry)
    base.parse_split(settings.split)
    listing = entry.read(INPUT.value, **settings.options)
    own_splits = any(utterance.split for utterance in listing.utterances)
    for note in listing.notes:
        print(f"note: {note}")
    try:
        if DRY_RUN.value:
            _print_plan(convert.prepare(listing, settings, WORKERS.value))
            return
        _refuse_relative_paths(listing)
        plan = convert.prepare(listing, settings, WORKERS.value, engine, OUTPUT.value)
        was_complete = not OVERWRITE.value and (storage.place(OUTPUT.value) / shards.MANIFEST).exists()
        manifest = convert.convert(plan, OUTPUT.value, WORKERS.value, max_skipped, OVERWRITE.value, engine=engine)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command resumes it.") from None
    if was_complete:
        print("nothing to do: this conversion is already complete.")
    _print_summary(manifest, own_splits)


def _engine(options: list[str]) -> convert.Engine | None:
    if ENGINE.value == "local":
        if options:
            raise UsageError(f"unexpected argument {options[0]}; flags begin with --, see --help.")
        return None
    from tfvoice.data import beam

    return beam.engine(options)


def _refuse_relative_paths(listing: base.Listing) -> None:
    """The current folder of a worker of a cluster is another one."""
    audio = next((utterance.audio for utterance in listing.utterances), os.sep)
    if ENGINE.value != "local" and not remote.is_url(audio) and not os.path.isabs(audio):
        raise UsageError(
            f"--input={INPUT.value}: the workers of --engine={ENGINE.value} have other current folders; write whole "
            f"paths, for example --input={os.path.abspath(INPUT.value.split(',')[0])}"
        )


def _settings(entry: base.Corpus) -> shards.ConversionConfig:
    options = {flag.name: flag.value for flag in (MIC, CLIPS, CLIP_SECONDS) if flag.value is not None}
    for name in options.keys() - set(entry.options):
        raise UsageError(f"--{name} is not a flag of --corpus={CORPUS.value}; leave it out.")
    values = {
        "corpus": CORPUS.value,
        "options": options,
        "split": SPLIT.value,
        "split_by": SPLIT_BY.value or entry.split_by,
        "sample_rate_hz": RATE.value,
        "encoding": ENCODING.value,
        "shard_mb": SHARD_MB.value,
        "min_seconds": MIN_SECONDS.value,
        "max_seconds": MAX_SECONDS.value,
    }
    return config.build(shards.ConversionConfig, values, "flags")


def _fraction(text: str) -> float:
    try:
        percent = float(text.removesuffix("%")) if text.endswith("%") else -1.0
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise UsageError(f"--max_skipped={text}: write a percentage, for example --max_skipped=1%.")
    return percent / 100


def _print_plan(plan: ConversionPlan) -> None:
    total = sum(shard.utterances for shard in plan.shards)
    print(f"{INPUT.value}: {total:,} utterances would become {len(plan.shards)} shards in {OUTPUT.value}")
    for split in dict.fromkeys(shard.split for shard in plan.shards):
        members = [shard for shard in plan.shards if shard.split == split]
        count = sum(shard.utterances for shard in members)
        print(_row(split, count, sum(shard.seconds for shard in members), len(members)))
    for utterance in plan.examples:
        print(f"  {utterance.id} ({utterance.split}): {utterance.text[:80]}")
    _print_skipped(plan.listing.skipped)
    print("nothing was written; leave out --dry_run to convert.")


def _print_skipped(skipped: list[base.Skip]) -> None:
    for expected, title in ((False, "would be skipped"), (True, "would be skipped, as expected")):
        for reason, count in base.reasons(skipped, expected).items():
            example = next(skip for skip in skipped if skip.reason == reason and skip.expected == expected)
            print(f"{title}: {count} {reason}, such as {example.id_or_path} ({example.detail})")


def _print_summary(manifest: shards.Manifest, own_splits: bool) -> None:
    size = sum(shard.bytes for split in manifest.splits.values() for shard in split.shards)
    total = sum(split.utterances for split in manifest.splits.values())
    seconds = sum(split.seconds for split in manifest.splits.values())
    print(f"{OUTPUT.value}: {total:,} utterances, {_duration(seconds).strip()}, {size / 1e6:,.1f} MB")
    for name, split in manifest.splits.items():
        print(_row(name, split.utterances, split.seconds, len(split.shards)))
    clipped = sum(split.clipped for split in manifest.splits.values())
    if clipped:
        print(f"clipped: {clipped:,} of {total:,} utterances have samples beyond full scale")
    listed = f"listed in {os.path.join(OUTPUT.value, shards.SKIPPED)}"
    if manifest.skipped:
        print(f"skipped: {_counts(manifest.skipped)}; {listed}")
    if manifest.expected_skips:
        print(f"skipped, as expected: {_counts(manifest.expected_skips)}")
    empty = [name for name, share in base.parse_split(SPLIT.value).items() if share and name not in manifest.splits]
    if empty and not own_splits:
        by = manifest.settings.split_by
        print(f"warning: there is nothing in {' and '.join(empty)} with --split_by={by}; {_WAYS_OUT[by]}")
    absent = [name for name in ("train", "valid") if name not in manifest.splits]
    if absent and own_splits:
        print(f"warning: the corpus has no {' and no '.join(absent)}; tfvoice_train needs train and valid")
    model = CORPORA[manifest.corpus].model
    run_dir = Path("runs", Path(storage.absolute(OUTPUT.value)).name)
    places = f"--data={shlex.quote(OUTPUT.value)} --run={shlex.quote(str(run_dir))}"
    print(f"next: tfvoice_train --model={model} {places}")


def _row(split: str, utterances: int, seconds: float, count: int) -> str:
    return f"  {split:<8}{utterances:>9,} utterances {_duration(seconds)} {count:>5} shard{'s' * (count != 1)}"


def _duration(seconds: float) -> str:
    return f"{seconds / 3600:>9.2f} hours" if seconds >= 3600 else f"{seconds / 60:>9.1f} minutes"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _validate() -> None:
    manifest = shards.read_manifest(OUTPUT.value)
    count = sum(len(split.shards) for split in manifest.splits.values())
    with tqdm.tqdm(total=count, desc="validate", unit="shard", disable=None) as bar:
        shards.validate(OUTPUT.value, bar.update)
    print(f"{OUTPUT.value}: {count} shards, all checksums are correct")
