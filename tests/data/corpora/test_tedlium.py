"""Laws of the TED-LIUM reader."""

import numpy as np
import pytest
import soundfile

from tfvoice.data import convert
from tfvoice.data.corpora import tedlium
from tfvoice.data.corpora.base import CorpusError
from tfvoice.data.shards import ConversionConfig

STM = """;; CATEGORY "0" "" ""
AalWee_2010 1 AalWee 0.00 0.50 <o,f0,male> ignore_time_segment_in_scoring
AalWee_2010 1 AalWee 0.50 1.25 <o,f0,male> and i 'm a(2) {SMACK} fan <sil> of it
AalWee_2010 1 AalWee 1.25 1.75 <o,f0,male> the <unk> machine
AalWee_2010 1 inter_segment_gap 1.75 1.80 <o,,unknown> ignore_time_segment_in_scoring
AalWee_2010 1 AalWee 1.80 2.00 <o,f0,male>
"""


def tree(root, stm=STM, split="train", talk="AalWee_2010"):
    for kind in ("sph", "stm"):
        (root / split / kind).mkdir(parents=True, exist_ok=True)
    (root / split / "stm" / f"{talk}.stm").write_text(stm)
    samples = np.random.default_rng(0).standard_normal(2 * 16000) / 10
    soundfile.write(root / split / "sph" / f"{talk}.sph", samples, 16000, format="NIST", subtype="PCM_16")
    return root


def test_a_segment_is_an_utterance(tmp_path):
    tree(tmp_path / "TEDLIUM_release2")
    tree(tmp_path / "TEDLIUM_release2", "B 1 B 0.1 0.9 <F0_F> it 's 'round\n", "dev", "B_2008")
    listing = tedlium.read(str(tmp_path))
    one, two = listing.utterances
    assert (one.id, one.text, one.speaker, one.split) == (
        "AalWee_2010-0000050-0000125", "and i'm a fan of it", "AalWee", "train",
    )  # fmt: skip
    assert (one.start_seconds, one.seconds) == (0.5, 0.75)
    assert (two.id, two.text, two.split) == ("B_2008-0000010-0000090", "it's 'round", "valid")


def test_segments_excluded_from_scoring_are_skipped_as_expected(tmp_path):
    skipped = tedlium.read(str(tree(tmp_path))).skipped
    reasons = {skip.id_or_path.split("-", 1)[1]: (skip.reason, skip.expected) for skip in skipped}
    assert reasons == {
        "0000000-0000050": ("excluded_from_scoring", True),
        "0000125-0000175": ("unknown_word", True),
        "0000175-0000180": ("excluded_from_scoring", True),
        "0000180-0000200": ("empty_transcript", False),
    }


def test_only_its_part_of_the_talk_is_converted(tmp_path):
    (utterance,) = tedlium.read(str(tree(tmp_path))).utterances
    assert convert.convert_one(utterance, ConversionConfig(corpus="tedlium")).samples == 12000


def test_bad_lines_and_talks_without_audio_are_counted(tmp_path):
    root = tree(
        tmp_path,
        "A 1 A 2.0 1.0 <o,f0,male> backwards\nA 1 A one two <o,f0,male> no numbers\nA 1\nA 1 A nan 3 <o,f0,male> a\n",
    )
    (root / "train" / "stm" / "Gone_2001.stm").write_text(STM)
    reasons = {skip.id_or_path: skip.reason for skip in tedlium.read(str(root)).skipped}
    assert reasons == {
        "AalWee_2010.stm line 1": "malformed_row",
        "AalWee_2010.stm line 2": "malformed_row",
        "AalWee_2010.stm line 3": "malformed_row",
        "AalWee_2010.stm line 4": "malformed_row",
        "Gone_2001": "missing_audio",
    }


def test_no_such_tree_and_not_utf8(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for train/stm beside train/sph"):
        tedlium.read(str(tmp_path))
    root = tree(tmp_path)
    (root / "train" / "stm" / "AalWee_2010.stm").write_bytes(b"A 1 A 0 1 <o,f0,male> caf\xe9")
    with pytest.raises(CorpusError, match=r"AalWee_2010\.stm: not UTF-8"):
        tedlium.read(str(root))


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    tree(tmp_path)
    before = tedlium.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert tedlium.read(str(tmp_path)) == before and before.utterances


@pytest.mark.parametrize("label", ["<NA>", "<o,f0,male>", "<F0_M>", "<>", "<o, f0, male>", "<inter_segment_gap>", ""])
def test_the_sixth_field_is_a_label_whatever_it_holds(tmp_path, label):
    tree(tmp_path, f"A 1 A 0.0 0.9 {label} hello <noise> from here\nA 1 A 0.9 1.5 {label} the <unk>\n")
    listing = tedlium.read(str(tmp_path))
    assert [u.text for u in listing.utterances] == ["hello from here"]
    assert [skip.reason for skip in listing.skipped] == ["unknown_word"]


def test_without_a_label_an_unknown_word_can_come_first(tmp_path):
    tree(tmp_path, "A 1 A 0.0 0.9 <unk> machine\nA 1 A 0.9 1.5 <sil> machine\n")
    listing = tedlium.read(str(tmp_path))
    assert [u.text for u in listing.utterances] == ["machine"] and len(listing.skipped) == 1
