"""From a manifest in another language to a transcript: the commands of docs/languages.md."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tfvoice.cli import convert, eval, texts, train, transcribe

SENTENCES = {
    "german": ["Die Tür ist groß.", "Später schläft er!", "Fünf weiße Bären", "Ist das Öl süß?"],
    "russian": ["Это дом.", "Ещё пять ёжиков", "Мой объект здесь", "Где же подъезд?"],
    "chinese": ["今天天气很好，", "我们去公园。", "他在公园里", "天气很冷"],
}
ALPHABETS = {
    "german": " abcdefghilnoprstwßäöü",
    "russian": " бвгдежзийкмопстщъьэяё",
    "chinese": "今他们公冷去园在天好很我气里",
}
AUTO = ("--set", "alphabet.characters=auto")
SMALL = (
    "--set=model.width=4", "--set=model.kernel_size=3", "--set=model.dilations=[1]", "--set=model.stacks=1",
    "--set=features.bins=20", "--set=training.batch_size=4", "--set=data.buckets=1",
    "--set=training.xla=off",
)  # fmt: skip


PAGE = (Path(texts.__file__).parents[2] / "docs" / "languages.md").read_text(encoding="utf-8")
COMMANDS = {"convert": convert, "text": texts, "train": train, "eval": eval, "transcribe": transcribe}


@pytest.fixture
def run(in_process):
    """Runs a command; returns its output and its errors, after it succeeded."""

    def run(main, program, *arguments):
        status, out, err = in_process(main, program, *arguments)
        assert status == 0, err
        return out

    return run


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest of a language whose every letter is a tone of its own."""

    def manifest(language):
        rng = np.random.default_rng(0)
        letters = sorted(set("".join(SENTENCES[language]).lower()))
        rows = []
        for number in range(24):
            text = SENTENCES[language][number % len(SENTENCES[language])]
            times = np.arange(1600) / 16000
            tones = [0.2 * np.sin(2 * np.pi * (200 + 90 * letters.index(letter)) * times) for letter in text.lower()]
            samples = np.concatenate(tones)
            soundfile.write(tmp_path / f"{number}.wav", samples + 0.001 * rng.standard_normal(len(samples)), 16000)
            split = ["train", "train", "train", "train", "valid", "test"][number // 4]
            rows.append({"audio_filepath": f"{number}.wav", "text": text, "split": split})
        path = tmp_path / f"{language}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return path

    return manifest


@pytest.fixture
def converted_manifest(run, manifest, tmp_path):
    """Converts the manifest of a language; returns the folder of the records."""

    def converted_manifest(language):
        output = tmp_path / "records"
        run(convert.main, "tfvoice_convert", f"--input={manifest(language)}", f"--output={output}", "--corpus=manifest")
        return output

    return converted_manifest


@pytest.mark.parametrize("language", SENTENCES)
def test_from_a_manifest_to_a_transcript(language, run, converted_manifest, tmp_path):
    records, folder = converted_manifest(language), tmp_path / "run"
    characters = ALPHABETS[language]
    proposed = run(texts.main, "tfvoice_text", "--alphabet", f"--data={records}")
    assert proposed.endswith(f'[alphabet]\ncharacters = "{characters}"\n')
    out = run(train.main, "tfvoice_train", f"--data={records}", f"--run={folder}", "--max_steps=2", *AUTO, *SMALL)
    assert "the alphabet" not in out, "no letter changes"
    description = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    assert description["config"]["alphabet"]["characters"] == characters
    text = run(transcribe.main, "tfvoice_transcribe", f"--run={folder}", "--checkpoint=last", tmp_path / "0.wav")
    assert set(text.strip()) <= set(characters)


def test_the_commands_of_the_page_are_valid():
    lines = re.findall(r"^    tfvoice_(\w+) (.+)$", PAGE, re.MULTILINE)
    assert [name for name, _ in lines] == list(COMMANDS)
    for name, arguments in lines:
        COMMANDS[name].FLAGS.parse([name, *shlex.split(arguments)])
    for language, sentences in SENTENCES.items():
        assert f"`{language}.tsv`" in PAGE and all(sentence in PAGE for sentence in sentences[:3])


def test_the_alphabet_of_a_run_is_kept_when_it_is_resumed(in_process, run, converted_manifest, tmp_path):
    records, folder = converted_manifest("german"), tmp_path / "run"
    command = (train.main, "tfvoice_train", f"--data={records}", f"--run={folder}", *SMALL)
    first = run(*command, *AUTO, "--max_steps=1")
    again = run(*command, *AUTO, "--max_steps=2")
    assert "after step 1;" in first and "after step 2;" in again
    # The alphabet of a run with a preset was chosen, so that to change it is another configuration.
    out = run(*command, "--max_steps=1", "--overwrite")
    assert "train: the alphabet changes 12 'ä' to 'a', 12 'ü' to 'u', 12 'ß' to 'ss', 4 'ö' to 'o'; --set " in out
    status, _, err = in_process(*command, *AUTO, "--max_steps=2")
    assert status == 1
    assert "holds a run of another configuration: alphabet.characters: " in err


def test_letters_that_vanish_are_named_before_the_training(in_process, converted_manifest, tmp_path):
    records = converted_manifest("russian")
    status, out, _ = in_process(train.main, "tfvoice_train", f"--data={records}", f"--run={tmp_path / 'run'}", *SMALL)
    assert status == 1, "no text is left"
    assert "train: the alphabet drops " in out and "--set alphabet.characters=auto keeps the letters" in out
