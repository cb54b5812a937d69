"""What a report page holds."""

import base64
import io
import re

import soundfile


def external_links(page):
    """What the page would load from elsewhere."""
    links = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    return [link for link in links if not link.startswith(("data:", "#"))]


def audio_of(page):
    """The recordings in a page: samples and rates."""
    found = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', page)
    return [soundfile.read(io.BytesIO(base64.b64decode(data))) for data in found]
