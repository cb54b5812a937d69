"""A run of a G2P model: letters of a word to phonemes."""

import hashlib
from pathlib import Path
from typing import Any

from tfvoice.errors import TfvoiceError
from tfvoice.models.deep_voice.g2p import G2p
from tfvoice.run import Run
from tfvoice.text import lexicon as lexicon_
from tfvoice.text.lexicon import PronunciationLexicon
from tfvoice.text.phonemes import PhonemeInventory
from tfvoice.tts.g2p import data as data_
from tfvoice.tts.g2p.config import G2pRunConfig
from tfvoice.tts.g2p.data import WordIndex, WordPipeline


class G2pRun(Run):
    """A run of a G2P model.

    Args:
      run_dir: the folder.
      config: the whole configuration.
      info: what is written beside the configuration; `letters` and `phonemes`, the classes, must be there.
      training: whether the run is to be trained.

    Attributes:
      letters: that the network reads, in the order of their classes.
      inventory: phonemes that it writes.

    Raises:
      TfvoiceError: `info` lacks the classes.
    """

    config_class = G2pRunConfig

    def __init__(
        self, run_dir: str | Path, config: G2pRunConfig, info: dict[str, Any] | None = None, training: bool = False
    ):
        if not {"letters", "phonemes"} <= (info or {}).keys():
            raise TfvoiceError(
                f"{run_dir}: the letters and phonemes of this G2P model are unknown; add info.letters and "
                "info.phonemes to experiment.json, or train it again."
            )
        self.letters = str(info["letters"])
        self.inventory = PhonemeInventory(tuple(info["phonemes"]))
        super().__init__(run_dir, config, info, training)

    @classmethod
    def new(
        cls,
        run_dir: str | Path,
        config: G2pRunConfig,
        data_dir: str | Path,
        info: dict[str, Any],
        source: "G2pRun | None" = None,
    ):
        """A run that is to be trained on a lexicon, of which nothing is on disk yet; `source` gives only weights."""
        lexicon = lexicon_.load(data_dir)
        letters = data_.letters_of(lexicon)
        if source is not None:
            # Classes keep their numbers, so that the weights of letters are taken where all are known.
            letters = source.letters + "".join(letter for letter in letters if letter not in source.letters)
        classes = {"letters": letters, "phonemes": list(lexicon.inventory.symbols)}
        return cls(run_dir, config, info | classes, training=True)

    @classmethod
    def data_info(cls, data_dir: str | Path) -> dict[str, Any]:
        """The lexicon: `cmudict` or the path of a file, and the sha256 of its text."""
        named = str(data_dir) == lexicon_.CMUDICT
        content = lexicon_.cmudict_bytes() if named else lexicon_.read_bytes(data_dir)
        return {
            "data": lexicon_.CMUDICT if named else str(Path(data_dir).resolve()),
            "manifest_sha256": hashlib.sha256(content).hexdigest(),
            "corpus": lexicon_.CMUDICT if named else "lexicon",
        }

    def data_dir(self, data_dir: str | Path | None = None) -> str | Path:
        """`data_dir`, or where it is None the run's own lexicon; raises where this machine does not have that."""
        found = data_dir or self.info.get("data")
        if found != lexicon_.CMUDICT and (not found or (data_dir is None and not Path(found).is_file())):
            raise TfvoiceError(
                f"{self.run_dir}: its lexicon, {found}, is not on this machine; name it with --data=FILE."
            )
        return found

    def class_labels(self) -> list[str]:
        """The boundary, which has no name, and the phonemes."""
        return ["", *self.inventory.symbols]

    def class_axes(self) -> dict[str, int]:
        """The axis of the classes in each tensor of the model that has one, by the path of its variable."""
        return self.model.class_axes()

    def lexicon(self, data_dir: str | Path) -> PronunciationLexicon:
        """Reads a lexicon to train or to evaluate on.

        Raises:
          TfvoiceError: it cannot be read, or has phonemes that the network does not know.
        """
        lexicon = lexicon_.load(data_dir)
        if unknown := sorted(set(lexicon.inventory.symbols) - set(self.inventory.symbols)):
            raise TfvoiceError(
                f"{data_dir}: has phonemes that {self.run_dir} does not know, such as {', '.join(unknown[:5])}; train "
                f"another run with --data={data_dir}."
            )
        return lexicon

    def pipeline(self, index: WordIndex, shuffled: bool = False) -> WordPipeline:
        """The batches of a split: shuffled in each epoch for training."""
        settings = self.config.training
        return WordPipeline(index, self.letters, self.inventory, settings.batch_size, settings.seed, shuffled)

    def _build(self, precision):
        # Recurrent layers are float32 in any precision.
        model = G2p(self.config.model, len(self.letters), len(self.inventory.symbols))
        model.build(None)
        return model
