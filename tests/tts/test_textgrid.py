import re

import numpy as np

from tfvoice.tts import textgrid
from tfvoice.tts.textgrid import TierInterval


def parsed(text):
    """The tiers of a TextGrid: name to (start, end, text)."""
    tiers = {}
    for part in text.split("    item [")[1:]:
        name = re.search(r'name = "(.*)"', part)[1]
        rows = re.findall(r'intervals \[\d+\]:\s+xmin = (\S+)\s+xmax = (\S+)\s+text = "(.*)"\n', part)
        assert int(re.search(r"intervals: size = (\d+)", part)[1]) == len(rows)
        tiers[name] = [(float(start), float(end), text.replace('""', '"')) for start, end, text in rows]
    return tiers


def test_intervals_follow_each_other_from_0_to_the_end():
    words = [TierInterval(0.5, ""), TierInterval(1.25, 'say "hi"')]
    phones = textgrid.intervals(["", "HH", "AY1"], np.array([8000, 12000, 20000]), 16000)
    text = textgrid.format({"words": words, "phones": phones})
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1.25\n')
    assert parsed(text) == {
        "words": [(0, 0.5, ""), (0.5, 1.25, 'say "hi"')],
        "phones": [(0, 0.5, ""), (0.5, 0.75, "HH"), (0.75, 1.25, "AY1")],
    }


def test_times_keep_the_sample():
    for samples in (1, 12345, 16001, 959999):
        text = textgrid.format({"phones": textgrid.intervals(["a"], [samples], 44100)})
        assert round(parsed(text)["phones"][0][1] * 44100) == samples
