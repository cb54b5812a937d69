"""How well recognisers understand a voice, beside recordings of its speaker and other voices.

  apt-get install espeak-ng flite festival festvox-kallpc16k
  python tests/benchmarks/intelligibility.py VOICE RECOGNIZER PYTHON [FOLDER] [name=value ...]

The sentences are those of the split `test` of the voice's aligned records. Each is there as it was recorded, as a copy
(the vocoder with the durations and F0 of the recording), as the voice speaks it, and as espeak-ng, flite and festival
do. RECOGNIZER is a run of tfvoice; PYTHON an interpreter with PocketSphinx, see `pocketsphinx_transcripts.py`. The WAV
files are left in FOLDER. `temperature=0.7`, for example, is an option of the voice.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

import tfvoice
from tfvoice.asr import metrics
from tfvoice.audio import io as audio_io
from tfvoice.data import aligned, index
from tfvoice.tts.voice.run import ALIGNED, VoiceRun
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions, SpokenSentence

RATE_HZ = 16000
PEERS = {
    "espeak-ng": lambda text, path: ["espeak-ng", "-v", "en-us", "-w", path, text],
    "flite": lambda text, path: ["flite", "-t", text, "-o", path],
    "festival": lambda text, path: ["text2wave", "-o", path, "-eval", "(voice_kal_diphone)"],
}
SCRIPT = Path(__file__).parent / "pocketsphinx_transcripts.py"


def words(text: str) -> str:
    """A text as all of its transcripts can be: small letters and apostrophes."""
    return " ".join(re.findall(r"[a-z']+", text.lower().replace("’", "'")))


def speak_all(voice_dir: str, folder: Path, options: SpeechOptions) -> dict[str, str]:
    """Writes all WAV files, a folder for each kind; returns the texts by the name of the file."""
    speaker = Speaker(VoiceRun.load(voice_dir))
    directory = speaker.voice.run_dir / ALIGNED
    clips = index.scan_clips(aligned.read_manifest(directory), directory, "test", 1)
    alignments, texts = aligned.read_alignments(clips), {}
    for row, alignment in enumerate(alignments):
        name, text = f"{row:04d}.wav", clips.texts[row]
        texts[name] = text
        copied = speaker.speak(SpokenSentence(text, [], alignment), options)
        waves = {
            "recording": clips.audio(row),
            "copy": copied,
            "voice": speaker.speak(speaker.plan(text, options), options),
        }
        for kind, wave in waves.items():
            (folder / kind).mkdir(parents=True, exist_ok=True)
            audio_io.write(folder / kind / name, wave, speaker.voice.sample_rate_hz)
        for kind, command in PEERS.items():
            (folder / kind).mkdir(exist_ok=True)
            path = folder / kind / name
            subprocess.run(command(text, str(path)), input=text.encode(), check=True)
            soundfile.write(path, audio_io.read(path, RATE_HZ), RATE_HZ, "PCM_16")
    return texts


def result(texts: dict[str, str], transcripts: dict[str, str], errors: Callable) -> str:
    """The rate of errors in per cent, with its interval."""
    found = [errors(words(text), words(transcripts[name])) for name, text in texts.items()]
    low, high = metrics.interval(found)
    return f"{100 * metrics.rate(found):.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def main() -> None:
    """Prints a table."""
    positional = [argument for argument in sys.argv[1:] if "=" not in argument]
    pairs = dict(argument.split("=") for argument in sys.argv[1:] if "=" in argument)
    options = SpeechOptions(**{name: int(value) if name == "seed" else float(value) for name, value in pairs.items()})
    folder = Path(positional[3] if len(positional) > 3 else tempfile.mkdtemp())
    texts = speak_all(positional[0], folder, options)
    transcriber = tfvoice.Transcriber(tfvoice.load(positional[1]))
    lines = subprocess.run(
        [positional[2], str(SCRIPT), str(folder)], capture_output=True, check=True
    ).stdout.splitlines()
    sphinx = {each["file"]: each["text"] for each in map(json.loads, lines)}
    print(f"{len(texts)} sentences, {folder}")
    for kind in ("recording", "copy", "voice", *PEERS):
        waves = [audio_io.read(folder / kind / name, RATE_HZ) for name in texts]
        ours = {name: transcriber.transcribe(wave, RATE_HZ).text for name, wave in zip(texts, waves, strict=True)}
        theirs = {name: sphinx[f"{kind}/{name}"] for name in texts}
        level_db = 20 * np.log10(np.sqrt(np.mean(np.concatenate(waves) ** 2)))
        seconds = sum(map(len, waves)) / RATE_HZ
        cer, wer = (result(texts, ours, errors) for errors in (metrics.character_errors, metrics.word_errors))
        sphinx_wer = result(texts, theirs, metrics.word_errors)
        print(f"{kind:<10} CER {cer}, WER {wer}; PocketSphinx WER {sphinx_wer}; {seconds:.1f} s, {level_db:.1f} dB")


if __name__ == "__main__":
    main()
