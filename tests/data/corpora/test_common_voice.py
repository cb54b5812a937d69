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
