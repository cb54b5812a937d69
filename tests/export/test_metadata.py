"""What servers need to know comes back from the folder of a model, or is an error that says what to do."""

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.export import metadata


def test_metadata_come_back(tmp_path):
    content = {"task": "recognition", "sample_rate_hz": 16000, "characters": " äb"}
    metadata.write(tmp_path, content)
    assert metadata.read(tmp_path) == {"schema": 1} | content


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "3"])
def test_a_folder_without_usable_metadata_is_an_error(tmp_path, text):
    if text is not None:
        (tmp_path / "tfvoice.json").write_text(text)
    with pytest.raises(TfvoiceError, match=r"has no tfvoice.json, so tfvoice_export did not write it; export the run"):
        metadata.read(tmp_path)
