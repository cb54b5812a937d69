"""The report page of a voice: its numbers, and its sentences to listen to: recorded, copied, synthesised."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfvoice.report import html, plots
from tfvoice.report.html import ComparedRun
from tfvoice.tts import alignment_output
from tfvoice.tts.alignment_output import AlignedClip
from tfvoice.tts.voice.run import VoiceRun

METRIC = "intelligibility"
# Sentences that can be played in the page, and those of them with pictures.
_PLAYED, _PICTURED = 8, 3
_PANELS = (plots.loss_panel("bits per sample"),)
_TITLES = {"recording": "Recording", "copy": "Copy synthesis", "synthesis": "Synthesis"}


def row(run: ComparedRun) -> dict[str, Any]:
    """The cells of a run in the table of a comparison."""
    report = run.report
    return {
        "bits": report["bits_per_sample"],
        "distortion_db": report["copy_errors"]["distortion_db"],
        "duration_ms": report["prosody_errors"]["duration_ms"],
        "f0_hz": report["prosody_errors"]["f0_hz"],
        "cer": {kind: rates["cer"]["rate"] for kind, rates in report[METRIC].items()},
        "speed": report["times_real_time"],
    }


def write(voice: VoiceRun, spoken: Sequence, report: dict[str, Any], compared: list[ComparedRun]) -> Path:
    """Writes the page of a report.

    Args:
      voice: the voice.
      spoken: from `evaluate.speak`.
      report: from `evaluate`.
      compared: voices beside it, from `html.load_compared`.

    Returns:
      The path.
    """
    runs = [html.this_run(voice, report), *compared]
    places = np.linspace(0, len(spoken) - 1, min(_PLAYED, len(spoken))).round().astype(int).tolist()
    content = {
        "tiles": _tiles(report),
        "runs": html.comparison(runs, row),
        "curves": html.training_curves([run._replace(folder=run.folder / "vocoder") for run in runs], _PANELS),
        "prosody": report["prosody_errors"],
        "copies": report["copy_errors"],
        "recognizer": report["recognizer"],
        "rates": report[METRIC],
        "titles": _TITLES,
        "sentences": [
            _sentence(voice, spoken[place], report["results"][place], number < _PICTURED)
            for number, place in enumerate(places)
        ],
    }
    footnote = "Intervals are 95 % bootstrap intervals over utterances."
    return html.write(voice, "voice.html", report, content, footnote, html.report_name(voice, report))


def _sentence(voice: VoiceRun, spoken, result: dict[str, Any], pictured: bool) -> dict[str, Any]:
    """A sentence to listen to."""
    kinds = []
    for kind, title in _TITLES.items():
        wave, alignment = spoken.waves[kind], spoken.alignments[kind]
        if not len(wave):
            continue
        clip = AlignedClip(title, "", voice.sample_rate_hz, wave, alignment, float("nan"))
        kinds.append(
            {
                "title": title,
                "audio": html.audio_uri(wave, voice.sample_rate_hz),
                "transcript": result["transcripts"].get(kind),
                "picture": html.picture_uri(alignment_output.figure(clip)) if pictured else "",
            }
        )
    return result | {"kinds": kinds}


def _tiles(report: dict[str, Any]) -> list[dict[str, str]]:
    low, high = report["interval_95"]
    tiles = [
        {"name": "bits per sample", "value": f"{report['bits_per_sample']:.3f}", "note": f"{low:.3f} to {high:.3f}"}
    ]
    for kind, rates in report[METRIC].items():
        low, high = rates["cer"]["interval_95"]
        note = f"{low:.1%} to {high:.1%}"
        tiles.append({"name": f"CER, {_TITLES[kind].lower()}", "value": f"{rates['cer']['rate']:.1%}", "note": note})
    first = f"times real time, first sound after {report['first_sound_seconds']:.2f} s"
    return [
        *tiles,
        {"name": "speed", "value": f"{report['times_real_time']:.2f}", "note": first},
        {
            "name": "utterances",
            "value": f"{report['utterances']:,}",
            "note": f"{report['audio_seconds'] / 60:.1f} minutes",
        },
    ]
