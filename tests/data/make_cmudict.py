"""Writes the copy of CMUdict that the package holds, from the files of github.com/cmusphinx/cmudict at commit 0f8072f.

    python tests/data/make_cmudict.py FOLDER

FOLDER has `cmudict.dict` and `LICENSE`. The dictionary is compressed, unchanged, without a time or a name in the
header, so that the bytes depend on it and on zlib alone; `tests/text/test_lexicon.py` knows its sha256.
"""

import gzip
import sys
from pathlib import Path

from tfvoice.text.lexicon import CMUDICT_PATH

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    CMUDICT_PATH.parent.mkdir(exist_ok=True)
    CMUDICT_PATH.write_bytes(gzip.compress((folder / "cmudict.dict").read_bytes(), 9, mtime=0))
    (CMUDICT_PATH.parent / "cmudict.LICENSE").write_bytes((folder / "LICENSE").read_bytes())
