"""The documents: files that they name exist, links resolve, and every shipped configuration is described."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
WALK = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
WALKS = re.split(r"^## (?=\d\. )", WALK, flags=re.MULTILINE)[1:]
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def anchors(path):
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_document
def test_links_resolve(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@each_document
def test_named_files_exist(path):
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:tfvoice|tests|configs)/[\w/]+\.(?:py|toml|html))\b", text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.splitlines()[0])
def test_a_walk_enters_existing_files_once(walk):
    files = re.findall(r"^\| `([\w/]+\.py)` \|", walk, re.MULTILINE)
    assert files
    assert len(files) == len(set(files))
    for name in files:
        assert (ROOT / "tfvoice" / name).is_file(), name


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.splitlines()[0])
def test_a_walk_names_functions_of_its_files(walk):
    for name, functions in re.findall(r"^\| `([\w/]+\.py)` \| (.+?) \|", walk, re.MULTILINE):
        source = (ROOT / "tfvoice" / name).read_text(encoding="utf-8")
        for function in re.findall(r"`([\w.]+)`", functions):
            assert re.search(rf"\b{function.rsplit('.', 1)[-1]}\b", source), f"{name}: {function}"


def test_every_configuration_is_described():
    for path in (ROOT / "configs").glob("*.toml"):
        assert f"`{path.stem}`" in WALK, path.name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90
