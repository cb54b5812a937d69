"""A checkout that is not installed works as well; it has no version."""

from importlib import metadata

from tfvoice import version


def test_the_version_is_that_of_the_installation(monkeypatch):
    assert version.installed() == metadata.version("tfvoice")

    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version.installed() == "(not installed)"
