"""Lines of texts: UTF-8 with a mark or without, and what is no UTF-8."""

import os

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.text import lines


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lines_keep_their_ends(tmp_path, encoding):
    path = tmp_path / "text.txt"
    path.write_text("a\n\nö", encoding=encoding)
    assert list(lines.read(str(path))) == ["a\n", "\n", "ö"]


def test_a_pipe_of_the_shell_is_read():
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        file.write(b"a cat\n")
    assert list(lines.read(f"/dev/fd/{reader}")) == ["a cat\n"]
    os.close(reader)


def test_other_encodings_are_an_error_or_replaced(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("schön\n".encode("latin-1"))
    assert list(lines.read(str(path), "replace")) == ["sch\ufffdn\n"]
    with pytest.raises(TfvoiceError, match=r"text.txt: is not UTF-8; save it as UTF-8\."):
        list(lines.read(str(path)))
    for encoding in ("utf-16-le", "utf-16"):
        path.write_bytes("a cat\n".encode(encoding))
        with pytest.raises(TfvoiceError, match=r"text.txt: holds zero bytes, as UTF-16 does; save it as UTF-8\."):
            list(lines.read(str(path), "replace"))


def test_a_file_that_is_not_there_is_an_error_at_once(tmp_path):
    with pytest.raises(TfvoiceError, match=r"gone.txt: no such file; name a text file\."):
        lines.read(f"{tmp_path}/gone.txt")
    with pytest.raises(TfvoiceError, match=r"no such file; name a text file\."):
        lines.read(str(tmp_path))
