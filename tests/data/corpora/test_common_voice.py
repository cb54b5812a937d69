"""Laws of the Common Voice reader."""

import pytest

from tfvoice.data.corpora import common_voice
from tfvoice.data.corpora.base import CorpusError

HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\n"
ONE, TWO = "1" * 128, "2" * 128


def tree(root, tables, clips):
    (root / "clips").mkdir(parents=True)
    for name, rows in tables.items():
        (root / f"{name}.tsv").write_bytes((HEADER + rows).encode())
    for clip in clips:
        (root / "clips" / clip).write_bytes(b"audio")
    return root


def test_tables_give_the_splits(tmp_path):
    tables = {
        "train": f"{ONE}\tcommon_voice_en_1.mp3\tA first row.\t2\t0\ttwenties\tfemale\tScottish English\n",
        "dev": f"{TWO}\tcommon_voice_en_2.mp3\tDéjà vu\t2\t0\t\t\t\r\n",
        "test": f"{TWO}\tcommon_voice_en_3\tNo suffix\t2\t0\t\t\t\n",
        "invalidated": f"{TWO}\tcommon_voice_en_4.mp3\tNot heard\t0\t2\t\t\t\n",
    }
    clips = [f"common_voice_en_{number}.mp3" for number in (1, 2, 3, 4)]
    root = tree(tmp_path / "cv-corpus-21.0" / "en", tables, clips)
    listing = common_voice.read(str(root.parent))
    assert [(u.id, u.text, u.speaker, u.split) for u in listing.utterances] == [
        ("common_voice_en_1", "A first row.", "1" * 16, "train"),
        ("common_voice_en_2", "Déjà vu", "2" * 16, "valid"),
        ("common_voice_en_3", "No suffix", "2" * 16, "test"),
    ]
    assert not listing.skipped, "the first row is no header, and what was not validated is no defect"
    assert listing.speakers == {"1" * 16: {"age": "twenties", "gender": "female", "accents": "Scottish English"}}


@pytest.mark.parametrize(
    "written, expected",
    [
        ('"""Hello,"" he said."', '"Hello," he said.'),
        ('"Hello," he said.', '"Hello," he said.'),
        ('He said "hello"', 'He said "hello"'),
        ('"Hello there."', "Hello there."),
        ('"', '"'),
    ],
)
def test_quotation_marks_of_all_releases(tmp_path, written, expected):
    root = tree(tmp_path, {"train": f"{ONE}\ta.mp3\t{written}\t2\t0\t\t\t\n"}, ["a.mp3"])
    assert [u.text for u in common_voice.read(str(root)).utterances] == [expected]


def test_a_release_without_splits_is_read_from_validated_tsv(tmp_path):
    rows = f"{ONE}\ta.mp3\tValid\t2\t0\t\t\t\n"
    listing = common_voice.read(str(tree(tmp_path, {"validated": rows, "other": rows}, ["a.mp3"])))
    assert [(u.text, u.split) for u in listing.utterances] == [("Valid", "")]


def test_bad_rows_are_counted(tmp_path):
    rows = f"{ONE}\tgone.mp3\tText\t2\t0\t\t\t\n\n{ONE}\ta.mp3\tToo few columns\n{ONE}\ta.mp3\t\t2\t0\t\t\t\n"
    listing = common_voice.read(str(tree(tmp_path, {"train": rows}, ["a.mp3"])))
    reasons = {skip.id_or_path: skip.reason for skip in listing.skipped}
    assert reasons == {"gone": "missing_audio", "train.tsv line 4": "malformed_row", "a": "empty_transcript"}


def test_no_such_tree(tmp_path):
    with pytest.raises(CorpusError, match=r"looked for clips/ beside train\.tsv or validated\.tsv"):
        common_voice.read(str(tmp_path))


def test_a_table_without_its_columns_is_refused(tmp_path):
    root = tree(tmp_path, {}, [])
    (root / "train.tsv").write_text("filename\ttext\n")
    with pytest.raises(CorpusError, match=r"train\.tsv: its first line names no column client_id, path, sentence"):
        common_voice.read(str(root))
    (root / "train.tsv").write_bytes(b"client_id\tpath\tsentence\n1\ta\tcaf\xe9\n")
    with pytest.raises(CorpusError, match=r"train\.tsv: not UTF-8"):
        common_voice.read(str(root))


def test_hidden_files_are_not_there(tmp_path, from_a_mac):
    tree(tmp_path, {"train": f"{ONE}\ta.mp3\tA.\t2\t0\t\t\t\n"}, ["a.mp3"])
    before = common_voice.read(str(tmp_path))
    from_a_mac(tmp_path)
    assert common_voice.read(str(tmp_path)) == before and before.utterances


def clip(speaker, number):
    return f"{speaker}\tc{number}.mp3\tSentence {number}.\t2\t0\t\t\t\n"


def test_tables_with_a_header_only_give_way_to_validated(tmp_path):
    tables = {"train": "", "dev": "", "test": "", "validated": clip(ONE, 1) + clip(TWO, 2)}
    listing = common_voice.read(str(tree(tmp_path, tables, ["c1.mp3", "c2.mp3"])))
    assert [(u.id, u.split) for u in listing.utterances] == [("c1", ""), ("c2", "")] and not listing.skipped
    assert listing.notes == (
        "train.tsv and dev.tsv and test.tsv: hold no clip, so that those of validated.tsv are split by --split_by",
    )


def test_other_validated_clips_are_counted_and_taken_on_request(tmp_path):
    three = "3" * 128
    tables = {"train": clip(ONE, 1), "test": clip(TWO, 2)}
    tables["validated"] = "".join(clip(*each) for each in ((ONE, 1), (TWO, 2), (TWO, 3), (three, 4), (ONE, 5)))
    root = str(tree(tmp_path, tables, [f"c{number}.mp3" for number in range(1, 6)]))
    listing = common_voice.read(root)
    assert [(u.id, u.split) for u in listing.utterances] == [("c1", "train"), ("c2", "test")]
    note = "3 of 5 validated clips are not in train, dev and test; --clips=validated adds them to train"
    assert listing.notes == (note,) and not listing.skipped
    listing = common_voice.read(root, "validated")
    splits = {u.id: u.split for u in listing.utterances}
    assert splits == {"c1": "train", "c2": "test", "c4": "train", "c5": "train"} and not listing.notes
    assert [(skip.id_or_path, skip.reason, skip.expected) for skip in listing.skipped] == [
        ("c3", "speaker_of_another_split", True)
    ]
