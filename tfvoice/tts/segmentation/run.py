"""A run of a segmentation model: waveforms to log probabilities of phoneme pairs, and texts to lattices of pairs."""

import functools
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfvoice import config as config_
from tfvoice.audio import features
from tfvoice.data.utterances import UtterancePipeline
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.models.deep_voice.segmentation import Segmentation
from tfvoice.run import Run
from tfvoice.text import phonemes as phonemes_
from tfvoice.text.phonemes import PhonemeInventory, Pronunciation
from tfvoice.training.config import DTYPE_POLICIES
from tfvoice.tts.pronunciation import PronunciationSources
from tfvoice.tts.segmentation import data as data_
from tfvoice.tts.segmentation.config import SegmentationRunConfig
from tfvoice.tts.segmentation.data import LatticeIndex


class SegmentationRun(Run):
    """A run of a segmentation model.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; `phonemes`, those of the lexicon, must be there.
      training: whether the run is to be trained, in the precision of its configuration; otherwise it is float32.

    Attributes:
      inventory: the phonemes with stress.
      phonemes: without stress, silence first: the network knows pairs of these.

    Raises:
      TfvoiceError: `info` has no `phonemes`.
    """

    config_class = SegmentationRunConfig

    def __init__(
        self,
        run_dir: str | Path,
        config: SegmentationRunConfig,
        info: dict[str, Any] | None = None,
        training: bool = False,
    ):
        if "phonemes" not in (info or {}):
            raise TfvoiceError(
                f"{run_dir}: the phonemes of this segmentation model are unknown; add info.phonemes to "
                "experiment.json, or train it again."
            )
        self.inventory = PhonemeInventory(tuple(info["phonemes"]))
        self.phonemes = self.inventory.bases
        super().__init__(run_dir, config, info, training)
        self._log_probabilities = tf.function(self._compute, input_signature=_WAVEFORMS, reduce_retracing=True)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: SegmentationRunConfig,
        data_dir: str | Path,
        info: dict[str, Any],
        source: "SegmentationRun | None" = None,
    ):
        """A run that is to be trained on `data_dir`, of which nothing is on disk yet; `source` gives only weights."""
        symbols = PronunciationSources(config.pronunciation, run_dir).lexicon.inventory.symbols
        return cls(run_dir, config, info | {"phonemes": list(symbols)}, training=True)

    @classmethod
    def resolved(cls, settings: SegmentationRunConfig, run_dir: str | Path, data_dir: str | Path, overwrite: bool):
        """With absolute paths of lexicons and G2P model: the run is used from other folders, too."""
        chosen = settings.pronunciation
        paths = {name: str(Path(path).resolve()) for name, path in chosen.files().items()}
        return settings.model_copy(update={"pronunciation": chosen.model_copy(update=paths)})

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of each of `phonemes`."""
        return {phoneme: number for number, phoneme in enumerate(self.phonemes)}

    def without_stress(self, phoneme: str) -> str:
        """A phoneme as the network knows it."""
        return phoneme if phoneme in self.ids else phonemes_.base(phoneme)

    @functools.cached_property
    def sources(self) -> PronunciationSources:
        """The lexicon, G2P model and normaliser of the configuration.

        Raises:
          TfvoiceError: the lexicon cannot be read, or has phonemes that the network does not know.
        """
        sources = PronunciationSources(self.config.pronunciation, self.run_dir)
        if unknown := sorted(set(sources.lexicon.inventory.symbols) - set(self.inventory.symbols)):
            raise TfvoiceError(
                f"{sources.lexicon.source}: has phonemes that {self.run_dir} does not know, such as "
                f"{', '.join(unknown[:5])}; train another run."
            )
        return sources

    def pronunciations(self, text: str) -> list[tuple[str, list[Pronunciation]]]:
        """The words of a text, and the pronunciations that each may have; none for a word that has no phonemes.

        A text without words, such as "...", has none.

        Raises:
          PhonemeError: braces in the text hold anything but phonemes.
        """
        words, pronounced = [], self.sources.pronouncer.pronounce(text)
        if all(word.by == "unspoken" for word in pronounced):
            return []
        for word in pronounced:
            found = [word.phonemes] if word.phonemes else []
            if self.config.pronunciation.variants and word.variants:
                found = list(word.variants)
            words.append((word.word, found))
        return words

    def log_probabilities(self, samples: np.ndarray | tf.Tensor, lengths: np.ndarray | tf.Tensor) -> Sequence:
        """Waveforms to log probabilities, compiled once for all shapes.

        Args:
          samples: float32 `[batch, samples]` at the run's sample rate, zero beyond each length.
          lengths: int32 `[batch]`.

        Returns:
          Log probabilities of pairs and blank `[batch, frames, phonemes ** 2 + 1]`, nats, and their lengths.
        """
        return self._log_probabilities(
            tf.convert_to_tensor(samples, tf.float32), tf.convert_to_tensor(lengths, tf.int32)
        )

    def fingerprint(self) -> str:
        """SHA-256 of everything that decides its alignments: configuration, weights, lexicon and G2P model."""
        digest = hashlib.sha256(config_.to_json(self.config).encode())
        for weight in self.model.weights:
            digest.update(weight.numpy().tobytes())
        if g2p := self.sources.g2p:
            digest.update(config_.to_json(g2p.config).encode())
            for weight in g2p.model.weights:
                digest.update(weight.numpy().tobytes())
        lexicon = self.sources.lexicon
        for word in lexicon.words():
            digest.update(f"{word} {lexicon.pronunciations(word)}".encode())
        return digest.hexdigest()

    def class_labels(self) -> list[str]:
        """The pairs, then the blank."""
        return [*(f"{first} {second}" for first in self.phonemes for second in self.phonemes), "blank"]

    def scan(self, data_dir: str | Path, split: str, filtered: bool = True) -> LatticeIndex:
        """The utterances of a split with the lattices of their texts; arguments and errors as `data_.scan`.

        Args:
          data_dir: folder of the shards.
          split: name of the split.
          filtered: whether to drop utterances that are too long or too short to be trained on.
        """
        return data_.scan(self, data_dir, split, filtered)

    def pipeline(self, scanned: LatticeIndex, augmented: bool = False) -> UtterancePipeline:
        """The batches of a split: shuffled and augmented for training, otherwise sorted by length and unchanged."""
        config = self.config
        return UtterancePipeline(
            scanned.index,
            config.data,
            config.features,
            lambda frames: frames,
            config.training.batch_size,
            config.training.seed,
            config.augmentation if augmented else None,
        )

    def _compute(self, samples, lengths):
        inputs = features.compute(self.config.features, samples, lengths)
        logits = self.model(*inputs)
        return Sequence(tf.nn.log_softmax(logits.values), logits.lengths)

    def _build(self, precision):
        model = Segmentation(self.config.model, len(self.phonemes), dtype=DTYPE_POLICIES[precision])
        model.build((None, None, features.channels(self.config.features)))
        return model


_WAVEFORMS = (tf.TensorSpec([None, None], tf.float32), tf.TensorSpec([None], tf.int32))
