"""How the training of a voice starts: a new folder, or one to resume; lexicons and G2P model are copied into it."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfvoice import config as config_
from tfvoice import storage
from tfvoice.audio.features import FeatureConfig
from tfvoice.config import ConfigError
from tfvoice.data import aligned, shards
from tfvoice.errors import TfvoiceError
from tfvoice.run import DESCRIPTION, clear
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.pronunciation import PronunciationConfig, PronunciationSources
from tfvoice.tts.voice.config import VoiceRunConfig
from tfvoice.tts.voice.run import ALIGNED, COPIES, PARTS, VoiceRun

_FOLDERS = (*PARTS, ALIGNED, "g2p")
# What can change when a voice is resumed. Parts decide by themselves what can change of them.
_CHANGEABLE = ("speaking.", "duration_f0.", "vocoder.")
# What can change, too, as long as nothing is aligned.
_BEFORE_ALIGNMENT = ("segmentation.training.", "alignment.", "f0.")


def fitted(settings: VoiceRunConfig, data_dir: str | Path) -> VoiceRunConfig:
    """The settings at the sample rate of some plain records, whose voice has that rate; hops are whole samples.

    Raises:
      TfvoiceError: a voice cannot be trained on these records.
    """
    manifest, features = aligned.read_plain_manifest(data_dir), settings.segmentation.features
    for split in ("train", "valid"):
        if split not in manifest.splits:
            raise TfvoiceError(f"{data_dir}: there is no split {split}; {config_.nearest(split, manifest.splits)}.")
    rate_hz = manifest.sample_rate_hz
    if rate_hz == features.sample_rate_hz:
        return settings
    hop_ms = round(features.hop_ms * rate_hz / 1000) * 1000 / rate_hz
    values = features.model_dump() | {"sample_rate_hz": rate_hz, "hop_ms": hop_ms}
    fitting = config_.build(FeatureConfig, values, f"{data_dir} with {rate_hz} Hz: segmentation.features")
    segmentation = settings.segmentation.model_copy(update={"features": fitting})
    return settings.model_copy(update={"segmentation": segmentation})


def with_absolute_paths(settings: VoiceRunConfig, *voices: VoiceRun | None) -> VoiceRunConfig:
    """The settings with absolute paths of lexicons and G2P model.

    Args:
      settings: as the user gives them. Relative paths start from the working directory.
      voices: what stands in the configuration of one of these was taken from there, and starts from its folder.
    """
    paths = {}
    for name, path in _files(settings).items():
        known = (voice for voice in voices if voice and _files(voice.config).get(name) == path)
        owner = next(known, None)
        paths[name] = str(((owner.run_dir / "segmentation" if owner else Path()) / path).resolve())
    return _with_files(settings, paths)


def make(
    run_dir: Path, settings: VoiceRunConfig, data_info: dict[str, Any], init_from: str | Path | None
) -> tuple[VoiceRun, Callable[[], None]]:
    """A new voice.

    Args:
      run_dir: its folder.
      settings: with absolute paths, see `with_absolute_paths`.
      data_info: what `RunFolder.data_info` says of the data.
      init_from: folder of the voice that its parts start from.

    Returns:
      The voice, of which nothing is on disk yet, and what writes it: lexicons and G2P model, then `experiment.json`.

    Raises:
      TfvoiceError: a lexicon or the G2P model cannot be read, or the folder holds other runs.
    """
    _refuse_other_folders(run_dir)
    files = _files(settings)
    # Read now, so that nothing is written where one cannot be used.
    sources = PronunciationSources(settings.segmentation.pronunciation, "")
    sources.pronouncer, sources.g2p  # noqa: B018
    info = data_info | {"pronunciation": {name: _digest(path) for name, path in files.items()}}
    if init_from is not None:
        source = VoiceRun.load(init_from)
        info["init_from"] = {"run": str(source.run_dir.resolve()), "corpus": source.info.get("corpus", "unknown")}
    voice = VoiceRun(run_dir, portable(settings), info)

    def write() -> None:
        clear(run_dir)
        for name in _FOLDERS:
            shutil.rmtree(run_dir / name, ignore_errors=True)
        # Relative paths start here.
        (run_dir / "segmentation").mkdir(parents=True)
        for name, path in files.items():
            if name == "g2p":
                sources.g2p.pack(run_dir / COPIES[name])
            else:
                storage.write(run_dir / COPIES[name], Path(path).read_bytes())
        voice.write()

    return voice, write


def open_existing(
    run_dir: Path, settings: VoiceRunConfig, data_info: dict[str, Any], init_from: str | Path | None
) -> VoiceRun:
    """The voice in a folder, with the new settings where they may change; arguments as for `make`.

    Raises:
      TfvoiceError: it has another configuration or other data, or the folder holds another run.
    """
    voice = VoiceRun.open(run_dir)
    changed = config_.differences(voice.config, portable(settings))
    changeable = _CHANGEABLE if is_aligned(run_dir) else (*_CHANGEABLE, *_BEFORE_ALIGNMENT)
    refused = [each for each in changed if not each.startswith(changeable)]
    refused += [
        f"segmentation.pronunciation.{name}: {path} (of other content)"
        for name, path in _files(settings).items()
        if not _is_copied(voice, name, path)
    ]
    if voice.info.get("manifest_sha256") != data_info["manifest_sha256"]:
        refused.append(f"data: {voice.info.get('data')} -> {data_info['data']} (of other content)")
    origin = voice.info.get("init_from", {}).get("run")
    if init_from is not None and origin != str(Path(init_from).resolve()):
        refused.append(f"init_from: {origin} -> {Path(init_from).resolve()}")
    if refused:
        raise TfvoiceError(
            f"{run_dir}: holds a voice of another configuration: {'; '.join(refused)}. "
            "Use another --run, or --overwrite to start this one from scratch."
        )
    voice.config = portable(settings)
    return voice


def is_aligned(run_dir: Path) -> bool:
    """Whether the records of a voice are aligned."""
    return (run_dir / ALIGNED / shards.MANIFEST).is_file()


def portable(settings: VoiceRunConfig) -> VoiceRunConfig:
    """The settings with the paths of the copies in the folder of a voice; they start from its part `segmentation`."""
    return _with_files(settings, {name: f"../{COPIES[name]}" for name in _files(settings)})


def _refuse_other_folders(run_dir: Path) -> None:
    """Raises where folders with the names of parts belong to no voice: they would be deleted."""
    try:
        VoiceRun.open(run_dir)
    except TfvoiceError:
        # A voice that was killed before its description was written has the first of them, empty.
        for name in _FOLDERS:
            if name != "g2p" and (run_dir / name).is_dir() and any((run_dir / name).iterdir()):
                raise TfvoiceError(
                    f"{run_dir}: holds {name}/ and is no voice; use another --run, or delete it."
                ) from None


def _files(settings: VoiceRunConfig) -> dict[str, str]:
    return settings.segmentation.pronunciation.files()


def _with_files(settings: VoiceRunConfig, paths: dict[str, str]) -> VoiceRunConfig:
    pronunciation: PronunciationConfig = settings.segmentation.pronunciation.model_copy(update=paths)
    segmentation = settings.segmentation.model_copy(update={"pronunciation": pronunciation})
    return settings.model_copy(update={"segmentation": segmentation})


def _is_copied(voice: VoiceRun, name: str, path: str) -> bool:
    """Whether a file is the copy in the folder, which may have been edited, or what was copied there."""
    if Path(path) == (voice.run_dir / COPIES[name]).resolve():
        return True
    return voice.info.get("pronunciation", {}).get(name) in (None, _digest(path))


def _digest(path: str) -> str:
    """SHA-256 of a lexicon, or of the configuration and the weights of a G2P model."""
    digest, run_dir = hashlib.sha256(), Path(path)
    try:
        if not run_dir.is_dir():
            return hashlib.sha256(run_dir.read_bytes()).hexdigest()
        for part in (run_dir / DESCRIPTION, G2pRun.open(run_dir).checkpoint("best")):
            digest.update(part.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    return digest.hexdigest()
