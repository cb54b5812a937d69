import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from tfvoice import storage
from tfvoice.data.corpora import manifest
from tfvoice.data.corpora.base import CorpusError, Utterance

ROWS = [
    {"audio": "clips/a.wav", "text": 'She said "hello", twice.', "speaker": "f1", "seconds": "1.5"},
    {"audio": "clips/b.flac", "text": "l’été", "speaker": "m1", "seconds": "2.25"},
]


@pytest.fixture
def home(tmp_path):
    for name in ("a.wav", "b.flac", "c.wav"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        (tmp_path / "clips" / name).write_bytes(b"audio")
    (tmp_path / "clips" / "a.txt").write_text("Text of a.\n", encoding="utf-8")
    return tmp_path


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def expected(home):
    return [
        Utterance("clips/a", str(home / "clips" / "a.wav"), ROWS[0]["text"], "f1", seconds=1.5),
        Utterance("clips/b", str(home / "clips" / "b.flac"), ROWS[1]["text"], "m1", seconds=2.25),
    ]


def reasons(listing):
    return {skip.id_or_path: skip.reason for skip in listing.skipped}


def as_csv(rows):
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


FORMS = {
    "csv": as_csv(ROWS),
    "tsv": "\n".join("\t".join(row) for row in [ROWS[0].keys(), *(row.values() for row in ROWS)]) + "\n",
    "jsonl": "\n".join(json.dumps(row) for row in ROWS) + "\n\n",
    "json": json.dumps(ROWS, ensure_ascii=False),
}


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_reads_the_same(home, suffix, mark):
    listing = manifest.read(write(home / f"list.{suffix}", mark + FORMS[suffix]))
    assert listing.utterances == expected(home) and not listing.skipped


@pytest.mark.parametrize("audio", manifest.COLUMNS["audio"])
@pytest.mark.parametrize("text", manifest.COLUMNS["text"])
def test_column_names(home, audio, text):
    listing = manifest.read(write(home / "list.tsv", f"{text.upper()}\tage\t{audio}\nHello.\t31\tclips/a.wav\n"))
    assert listing.utterances == [Utterance("clips/a", str(home / "clips" / "a.wav"), "Hello.")]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_of_several_columns_for_one_key_the_first_in_the_table_is_used(home, suffix):
    row = {"path": "clips/b.flac", "audio": "clips/a.wav", "text": "Yes.", "wrd": "yes"}
    forms = {"csv": f"{','.join(row)}\n{','.join(row.values())}\n", "jsonl": json.dumps(row)}
    listing = manifest.read(write(home / f"list.{suffix}", forms[suffix]))
    assert listing.utterances == [Utterance("clips/a", str(home / "clips" / "a.wav"), "Yes.")]


def test_a_quotation_mark_is_literal_in_tsv(home):
    text = 'path\tsentence\nclips/a.wav\t"Stop\nclips/b.flac\tgo"\n'
    assert [u.text for u in manifest.read(write(home / "list.tsv", text)).utterances] == ['"Stop', 'go"']


def test_a_line_separator_of_unicode_does_not_end_a_row(home):
    text = "audio\ttext\nclips/a.wav\tone\u2028two\x85three\n"
    assert manifest.read(write(home / "list.tsv", text)).utterances[0].text == "one\u2028two\x85three"


def test_nemo(home):
    rows = [
        {"audio_filepath": "clips/a.wav", "text": "whole", "duration": 1.5},
        {"audio_filepath": str(home / "clips" / "b.flac"), "text": "part", "duration": 0.5, "offset": 2},
    ]
    # NeMo's manifests hold JSON lines but are called .json.
    listing = manifest.read(write(home / "train_manifest.json", "\n".join(map(json.dumps, rows))))
    assert listing.utterances == [
        Utterance("clips/a", str(home / "clips" / "a.wav"), "whole", seconds=1.5),
        Utterance("clips/b@2.000", str(home / "clips" / "b.flac"), "part", start_seconds=2.0, seconds=0.5),
    ]


def test_deepspeech_pytorch(home):
    expected = [Utterance("clips/a", str(home / "clips" / "a.wav"), "Text of a.")]
    assert manifest.read(write(home / "list.csv", "clips/a.wav,clips/a.txt\n")).utterances == expected
    samples = {"root_path": "clips", "samples": [{"wav_path": "a.wav", "transcript_path": "a.txt"}]}
    assert manifest.read(write(home / "list.json", json.dumps(samples))).utterances == expected
    samples["root_path"] = str(home / "clips")
    assert manifest.read(write(home / "list.json", json.dumps(samples))).utterances == expected


def test_ids_do_not_depend_on_the_location_of_the_corpus(home, monkeypatch):
    path = write(home / "list.csv", FORMS["csv"])
    ids = [u.id for u in manifest.read(path).utterances]
    monkeypatch.chdir(home / "clips")
    assert [u.id for u in manifest.read("../list.csv").utterances] == ids == ["clips/a", "clips/b"]
    (home / "link").symlink_to(home, target_is_directory=True)
    assert [u.id for u in manifest.read(str(home / "link" / "list.csv")).utterances] == ids


def test_file_names_give_the_split_of_several(home):
    files = {"train": "clips/a.wav", "dev": "clips/b.flac", "my_test": "clips/c.wav"}
    paths = [write(home / f"{name}.tsv", f"audio\ttext\n{audio}\tx\n") for name, audio in files.items()]
    expected = {"clips/a": "train", "clips/b": "valid", "clips/c": "test"}
    assert {u.id: u.split for u in manifest.read(str(home)).utterances} == expected
    assert {u.id: u.split for u in manifest.read(",".join(paths)).utterances} == expected
    assert manifest.read(paths[0]).utterances[0].split == ""


def test_a_split_column_has_precedence_over_the_file_name(home):
    write(home / "train.csv", "audio,text,split\nclips/a.wav,x,validation\nclips/b.flac,y,\n")
    write(home / "test.csv", "audio,text,split\nclips/c.wav,z,hard_ones\n")
    splits = [u.split for u in manifest.read(str(home)).utterances]
    assert splits == ["valid", "train", "hard_ones"]


def test_a_folder_with_one_manifest_of_any_name(home):
    write(home / "all.tsv", FORMS["tsv"])
    assert manifest.read(str(home)).utterances == expected(home)


@pytest.mark.parametrize("start, end, count", [("\n\n", "\n", 2), ("\ufeff", "\r\n", 2), ("", "", 1), (" ", "\n\n", 1)])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_lines_are_distinguished_from_a_document(home, start, end, count, suffix):
    lines = [json.dumps({"audio": "clips/a.wav", "text": "x", "id": name}) for name in "ab"[:count]]
    path = home / f"list.{suffix}"
    path.write_bytes((start + (end or "\n").join(lines) + end).encode())
    assert len(manifest.read(str(path)).utterances) == count


def test_bad_rows_are_skipped_with_a_reason(home):
    (home / "clips" / "b.txt").write_bytes(b"caf\xe9")
    lines = [
        {"audio": "clips/a.wav"},
        {"audio": "clips/nowhere.wav", "text": "x"},
        {"text": "no audio"},
        {"audio": "clips/b.flac", "transcript_path": "clips/b.txt"},
        {"audio": "clips/c.wav", "transcript_path": "clips/nowhere.txt"},
        {"audio": "clips/c.wav", "text": "  ", "id": "blank"},
        {"audio": "clips/c.wav", "text": "\ud800", "id": "half"},
        {"audio": "clips/c.wav", "transcript_path": "\0", "id": "zero"},
        [],
    ]
    listing = manifest.read(write(home / "list.jsonl", "\n".join(map(json.dumps, lines)) + "\n{broken"))
    assert not listing.utterances and listing.expected == 10
    assert reasons(listing) == {
        "clips/a": "missing_transcript",
        "clips/nowhere": "missing_audio",
        "list.jsonl line 3": "malformed_row",
        "clips/b": "unreadable_transcript",
        "clips/c": "missing_transcript",
        "blank": "empty_transcript",
        "half": "not_unicode",
        "zero": "unreadable_transcript",
        "list.jsonl line 9": "malformed_row",
        "list.jsonl line 10": "malformed_row",
    }


def test_a_row_of_another_width_is_malformed(home):
    listing = manifest.read(write(home / "list.tsv", "audio\ttext\nclips/a.wav\tx\ty\n\nclips/b.flac\tz\n"))
    assert reasons(listing) == {"list.tsv line 2": "malformed_row"} and len(listing.utterances) == 1


@pytest.mark.parametrize("column", ["duration", "offset"])
@pytest.mark.parametrize("value", ["long", "-1", "nan", "inf", "0,5", "0:01.5", "1.5 s"])
def test_a_time_that_is_no_number_is_malformed(home, column, value):
    table = f"audio,text,{column}\nclips/a.wav,x,{json.dumps(value)}\nclips/b.flac,y,0.5\nclips/c.wav,z, \n"
    listing = manifest.read(write(home / "list.csv", table))
    (skip,) = listing.skipped
    assert (
        skip.reason == "malformed_row" and "list.csv line 2: " in skip.detail and f"is '{value}', no nu" in skip.detail
    )
    field = {"duration": "seconds", "offset": "start_seconds"}[column]
    assert [getattr(utterance, field) for utterance in listing.utterances] == [0.5, None]


@pytest.mark.parametrize("key, value", [("duration", True), ("text", ["a", "b"]), ("audio", {"path": "clips/a.wav"})])
def test_a_json_value_of_another_type_is_malformed(home, key, value):
    item = {"audio": "clips/a.wav", "text": "x", key: value, "words": [["x", 0.1]]}
    good = {"audio": "clips/b.flac", "text": "y", "duration": "0.5", "offset": None, "words": [["y", 0.1]]}
    listing = manifest.read(write(home / "list.json", json.dumps([item, good])))
    assert [(skip.id_or_path, skip.reason) for skip in listing.skipped] == [("list.json item 1", "malformed_row")]
    assert json.dumps(value) in listing.skipped[0].detail
    assert [(utterance.seconds, utterance.start_seconds) for utterance in listing.utterances] == [(0.5, None)]


def fails(source, sentence):
    with pytest.raises(CorpusError, match=sentence):
        manifest.read(str(source))


@pytest.mark.parametrize("end", ["", '"'])
def test_a_quotation_mark_that_is_never_closed_loses_no_rows_silently(home, end):
    rows = f'audio,text,speaker\nclips/a.wav,"She said,f1\nclips/b.flac,No.,m1\nclips/c.wav,{end}Yes.,m1\n'
    fails(write(home / "list.csv", rows), "list.csv: line 2 has a quotation mark that is never closed")


def test_a_quoted_text_can_have_several_lines(home):
    rows = 'audio,text\nclips/a.wav,"One, two.\nThree, four,\nsee x.wav."\nclips/c.wav,Yes.\n'
    texts = [utterance.text for utterance in manifest.read(write(home / "list.csv", rows)).utterances]
    assert texts == ["One, two.\nThree, four,\nsee x.wav.", "Yes."]


def test_unusable_manifests(home):
    fails(home / "none.tsv", r"none.tsv: there is no such manifest; name a file or a folder with --input")
    fails(write(home / "list.xml", ""), r"list.xml: a manifest's name ends in .csv, .tsv, .jsonl, .json; rename it")
    fails(write(home / "list.csv", "wav;sentence\n"), r"names no columns for audio and text, it is wav;sentence; name")
    fails(
        write(home / "list.json", "hello"), r"list.json: neither JSON nor JSON lines: Expecting value: line 1 column 1"
    )
    fails(
        write(home / "list.json", '[\n{"audio": "a.wav"\n]'),
        r"nor JSON lines: Expecting ',' delimiter: line 3 column 1",
    )
    fails(write(home / "list.csv", "audio,text,split\nclips/a.wav,x,a/b\n"), r"list.csv line 2: split 'a/b' cannot be")
    fails(write(home / "list.csv", 'audio,text\nclips/a.wav,"' + "x" * 200_000), r"list.csv: not CSV .*never closed")
    (home / "list.tsv").write_bytes(b"audio\ttext\nclips/a.wav\tcaf\xe9\n")
    fails(home / "list.tsv", r"list.tsv: not UTF-8 .*save it as UTF-8")


def test_unusable_folders(home):
    fails(home, r"no manifest is here: looked for train.\*, valid.\* and test.\*")
    write(home / "train.csv", FORMS["csv"])
    write(home / "train.tsv", FORMS["tsv"])
    fails(home, r"train.csv and train.tsv both look like the train manifest; .*--input=")
    os.remove(home / "train.tsv")
    assert manifest.read(str(home)).utterances == expected(home)


def test_hidden_files_are_not_there(home, from_a_mac):
    write(home / "train.csv", FORMS["csv"])
    write(home / "test.csv", "audio,text\nclips/c.wav,x\n")
    before = manifest.read(str(home))
    from_a_mac(home)
    assert manifest.read(str(home)) == before and len(before.utterances) == 3


PEERS = {
    "deepspeech.csv": "wav_filename,wav_filesize,transcript\nclips/a.wav,48044,hello there\n",
    "metadata.csv": "file_name,transcription\nclips/a.wav,hello there\n",
    "metadata.jsonl": '{"file_name": "clips/a.wav", "text": "hello there"}\n',
    "speechbrain.csv": "ID,duration,wav,spk_id,wrd\nx,1.5,clips/a.wav,s1,hello there\n",
    "speechbrain.json": '{"x": {"wav": "clips/a.wav", "wrd": "hello there"}, "y": {"wav": "clips/c.wav", "wrd": "b"}}',
    "single.json": '{"x": {"wav": "clips/a.wav", "wrd": "hello there"}}',
}


@pytest.mark.parametrize("name", PEERS)
def test_forms_of_peers(home, name):
    one = manifest.read(write(home / name, PEERS[name])).utterances[-1 if name.endswith("n.csv") else 0]
    assert one.text == "hello there" and one.audio == str(home / "clips" / "a.wav")
    assert name[0] != "s" or one.id == "x"


def test_audio_folders_with_a_manifest_for_each_split(home):
    for split in ("train", "validation", "test"):
        (home / "data" / split).mkdir(parents=True)
        write(home / "data" / split / "metadata.csv", f"file_name,text\n../../clips/a.wav,{split}\n")
    write(home / "data" / "test" / "metadata.csv", "file_name,text\n../../clips/c.wav,x\n")
    write(home / "data" / "validation" / "metadata.csv", "file_name,text\n../../clips/b.flac,y\n")
    splits = {u.text: u.split for u in manifest.read(str(home / "data")).utterances}
    assert splits == {"train": "train", "y": "valid", "x": "test"}


def test_a_comma_can_be_part_of_a_name(home):
    (home / "with, comma").mkdir()
    paths = [write(home / "with, comma" / f"{split}.csv", FORMS["csv"]) for split in ("train", "test")]
    assert manifest.read(paths[0]).expected == 2
    assert manifest.read(str(home / "with, comma")).expected == 2 * 2
    assert manifest._listed(",".join(paths)) == [Path(path) for path in paths]
    assert manifest._listed("a.csv, b.csv") == [Path("a.csv"), Path("b.csv")]


def test_a_manifest_in_a_store_has_the_same_ids(home, store):
    write(home / "clips.csv", FORMS["csv"])
    for path in home.rglob("*.*"):
        if path.is_file():
            storage.place(f"{store}/{path.relative_to(home)}").upload(path)
    listing = manifest.read(f"{store}/clips.csv")
    assert listing.utterances == [
        replace(each, audio=f"{store}/{each.id}{Path(each.audio).suffix}") for each in expected(home)
    ]
    assert manifest.read(store).utterances == listing.utterances


def test_a_manifest_can_name_objects_and_texts_elsewhere(home, store):
    storage.write(f"{store}/txt/a.txt", "Text in a store.\n")
    rows = (
        f"wav_path\ttxt\n../x/a.wav\t../txt/a.txt\n{store}/b.wav\t../none.txt\n{home}/clips/a.wav\t{home}/clips/a.txt\n"
    )
    storage.write(f"{store}/lists/list.tsv", rows)
    listing = manifest.read(f"{store}/lists/list.tsv")
    audio = {utterance.audio: utterance.text for utterance in listing.utterances}
    assert audio == {f"{store}/x/a.wav": "Text in a store.", f"{home}/clips/a.wav": "Text of a."}
    assert list(reasons(listing).values()) == ["missing_transcript"]


def test_several_manifests_in_a_store_give_the_splits(store):
    for split in ("train", "test"):
        storage.write(f"{store}/{split}.tsv", f"audio\ttext\n{split}.wav\tYes.\n")
    for source in (f"{store}/train.tsv,{store}/test.tsv", store):
        assert sorted(each.split for each in manifest.read(source).utterances) == ["test", "train"]
    with pytest.raises(CorpusError, match=rf"^{store}/none.tsv: there is no such manifest"):
        manifest.read(f"{store}/none.tsv")
