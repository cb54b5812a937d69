"""Configurations: merging, overrides, errors of one sentence, round trips, and where the files are found."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfvoice import config
from tfvoice.config import Config, ConfigError

ROOT = Path(config.__file__).parents[1]


class Inner(Config):
    size: int = pydantic.Field(3, ge=1)
    kind: Literal["round", "square"] = "round"
    steps: tuple[int, ...] = (1, 2)
    limit: float | None = None


class Outer(Config):
    inner: Inner = Inner()
    maybe: Inner | None = None
    rate: float = 0.1
    name: str = "a"

    @pydantic.model_validator(mode="after")
    def _check(self):
        if self.rate > self.inner.size:
            raise ValueError("rate must be at most inner.size")
        return self


values = st.fixed_dictionaries(
    {},
    optional={
        "inner": st.fixed_dictionaries(
            {},
            optional={
                "size": st.integers(1, 9),
                "kind": st.sampled_from(["round", "square"]),
                "steps": st.lists(st.integers(), max_size=3),
                "limit": st.none() | st.floats(allow_nan=False),
            },
        ),
        "maybe": st.none() | st.fixed_dictionaries({}, optional={"size": st.integers(1, 9)}),
        "rate": st.floats(0, 1),
        "name": st.text(),
    },
)


@given(values)
def test_a_configuration_survives_a_round_trip_through_json(nested):
    built = config.build(Outer, nested)
    assert config.from_json(Outer, config.to_json(built)) == built


@given(values, values)
def test_differences_are_empty_if_and_only_if_configurations_are_equal(one, other):
    one, other = config.build(Outer, one), config.build(Outer, other)
    assert (config.differences(one, other) == []) == (one == other)
    assert config.differences(one, one) == []


def test_differences_name_key_and_both_values():
    one, other = Outer(), config.build(Outer, {"inner": {"size": 5}, "name": "b"})
    assert config.differences(one, other) == ["inner.size: 3 -> 5", "name: a -> b"]


@given(values, values, values)
def test_layers_are_merged_from_the_first_on_and_the_later_one_wins(one, two, three):
    merged = config.merge(one, two)
    assert config.merge(merged, three) == config.merge(one, two, three)
    assert config.merge(one, {}) == one == config.merge({}, one)
    for key, value in config.flatten(two).items():
        assert config.flatten(merged)[key] == value


def test_a_section_after_a_plain_value_starts_empty():
    assert config.merge({"maybe": {"size": 1}}, {"maybe": None}, {"maybe": {}}) == {"maybe": {}}


def test_merging_changes_none_of_its_layers():
    one, other = {"inner": {"size": 1}}, {"inner": {"kind": "square"}}
    assert config.merge(one, other) == {"inner": {"size": 1, "kind": "square"}}
    assert (one, other) == ({"inner": {"size": 1}}, {"inner": {"kind": "square"}})


def test_a_configuration_is_frozen():
    with pytest.raises(pydantic.ValidationError):
        Outer().rate = 2.0


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("a.b=3", {"a": {"b": 3}}),
        ("a=3e-4", {"a": 3e-4}),
        ("a=true", {"a": True}),
        ("a=[1, 2]", {"a": [1, 2]}),
        ("a=square", {"a": "square"}),
        ('a="3"', {"a": "3"}),
        ("a=", {"a": ""}),
        ("a=b=c", {"a": "b=c"}),
        (" a.b = mfcc ", {"a": {"b": "mfcc"}}),
        ("a=two words", {"a": "two words"}),
    ],
)
def test_the_value_of_an_override_is_toml_or_else_a_string(text, parsed):
    assert config.parse_override(text) == parsed


@pytest.mark.parametrize("text", ["", "a", "=3", " =3", "a.=3", ".a=3", "a..b=3"])
def test_an_override_without_a_key_or_value_is_refused(text):
    with pytest.raises(ConfigError, match=r"write it as section\.key=value, for example training\.batch_size=8\."):
        config.parse_override(text)


@pytest.mark.parametrize("text", ["a=1\nb=2", 'a="x" # y\n[c]'])
def test_an_override_sets_one_key_only(text):
    assert list(config.flatten(config.parse_override(text))) == ["a"]
    assert config.parse_override(text)["a"] == text.partition("=")[2]


@pytest.mark.parametrize(
    ("nested", "sentence"),
    [
        ({"nmae": "b"}, "f.toml: there is no key nmae; did you mean name? Known: inner, maybe, name, rate."),
        (
            {"inner": {"sise": 1}},
            "f.toml: there is no key inner.sise; did you mean size? Known: kind, limit, size, steps.",
        ),
        (
            {"maybe": {"sise": 1}},
            "f.toml: there is no key maybe.sise; did you mean size? Known: kind, limit, size, steps.",
        ),
        ({"zzz": 1}, "f.toml: there is no key zzz; known: inner, maybe, name, rate."),
        ({"inner": {"size": 0}}, "f.toml: inner.size: Input should be greater than or equal to 1 (it is 0)."),
        ({"inner": {"kind": "oval"}}, "f.toml: inner.kind: Input should be 'round' or 'square' (it is 'oval')."),
        ({"rate": 9}, "f.toml: rate must be at most inner.size."),
    ],
)
def test_an_invalid_key_or_value_is_an_error_of_one_sentence(nested, sentence):
    with pytest.raises(ConfigError) as error:
        config.build(Outer, nested, "f.toml")
    assert str(error.value) == sentence


@pytest.mark.parametrize("nested", [{"inner": 3}, {"inner": {"steps": ["x"]}}, {"rate": "fast"}, {"name": 3}])
def test_a_value_of_the_wrong_type_names_its_key(nested):
    (key,) = config.flatten(nested)
    with pytest.raises(ConfigError, match=rf"^f\.toml: {key}.*\.$"):
        config.build(Outer, nested, "f.toml")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"a"'])
def test_json_that_is_not_an_object_is_refused(text):
    with pytest.raises(ConfigError, match=r"^run\.json: Outer: .*\.$"):
        config.from_json(Outer, text, "run.json")


def test_text_that_is_not_json_is_refused():
    with pytest.raises(ConfigError, match=r"^run\.json: not JSON: .*\.$"):
        config.from_json(Outer, "{", "run.json")


def test_toml_files_are_parsed_and_errors_name_the_file(tmp_path):
    path = tmp_path / "f.toml"
    path.write_text('name = "ä"\n[inner]\nsize = 4\n', encoding="utf-8")
    assert config.read_toml(path) == {"name": "ä", "inner": {"size": 4}}
    path.write_text("kind = mfcc\n")
    with pytest.raises(
        ConfigError, match=r'f\.toml: not a TOML file: .*\. Strings need quotes, as in kind = "mfcc"\.$'
    ):
        config.read_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"f\.toml: not a TOML file"):
        config.read_toml(path)
    with pytest.raises(
        ConfigError, match=r"no\.toml: cannot read this configuration file \(No such file or directory\)"
    ):
        config.read_toml(tmp_path / "no.toml")
    with pytest.raises(ConfigError, match="cannot read"):
        config.read_toml(tmp_path)


def test_the_nearest_name_is_suggested_and_all_are_listed():
    assert config.nearest("trian", ["valid", "train"]) == "did you mean train? Known: train, valid"
    assert config.nearest("qqqq", ["valid", "train"]) == "known: train, valid"


def test_a_configuration_is_found_by_path_or_by_name(tmp_path, monkeypatch):
    assert config.find("wavenet_asr_demo") == config.find("wavenet_asr_demo.toml")
    assert config.find("wavenet_asr_demo") == ROOT / "configs" / "wavenet_asr_demo.toml"
    monkeypatch.chdir(tmp_path)
    Path("wavenet_asr_demo.toml").touch()
    assert config.find("wavenet_asr_demo.toml") == Path("wavenet_asr_demo.toml")
    with pytest.raises(ConfigError, match=r"^--config=wavenet_asr_dmo: no such file, and no such name; did you mean "):
        config.find("wavenet_asr_dmo")


def test_a_folder_beside_an_installed_package_is_not_taken_for_its_configurations(tmp_path, monkeypatch):
    for folder in ("configs", "tfvoice/configs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.toml").touch()
    monkeypatch.setattr(config, "__file__", str(tmp_path / "tfvoice" / "config.py"))
    assert config.find("a") == tmp_path / "tfvoice" / "configs" / "a.toml"


def test_a_wheel_has_the_configurations_and_no_file_of_an_earlier_build(tmp_path):
    source = tmp_path / "source"
    for name in ("tfvoice", "configs", "bin"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    (source / "build" / "lib" / "tfvoice" / "configs").mkdir(parents=True)
    for name in ("deleted.py", "configs/deleted.toml"):
        (source / "build" / "lib" / "tfvoice" / name).touch()
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([*pip, f"--wheel-dir={tmp_path}", str(source)], capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    installed = {path.name for path in (tmp_path / "installed" / "tfvoice" / "configs").iterdir()}
    assert installed == {path.name for path in (ROOT / "configs").iterdir()}
    assert not (tmp_path / "installed" / "tfvoice" / "deleted.py").exists()

    code = "from tfvoice import config; print(config.find('wavenet_asr_demo'))"
    environment = {"PYTHONPATH": str(tmp_path / "installed")}
    printed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert printed == f"{tmp_path / 'installed' / 'tfvoice' / 'configs' / 'wavenet_asr_demo.toml'}\n"
