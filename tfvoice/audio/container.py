"""What the structure of a sound file says about it: its length, and whether libsndfile reads all of it.

libsndfile believes the length in a header and stops there: at the first of several joined streams, or at a number that
a crashed recorder never filled in. The structure of a file - chunks, pages, frames - is read here without decoding.
"""

import struct
from typing import BinaryIO, NamedTuple

# Sizes that writers leave in a header because they cannot know it: ffmpeg and sox on a pipe, arecord.
_PLACEHOLDER_BYTES = 0x7FFFF000
_READ_BYTES = 1 << 16
_SEARCH_BYTES = 1 << 12
# More are no sound file, but would take long to walk through.
_MAX_CHUNKS = 10_000
_MP3_BITRATES = {
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AU_SAMPLE_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}


class Facts(NamedTuple):
    """What the structure of a file says.

    Attributes:
      complete: libsndfile decodes all of it; False: it would drop something, or start with noise.
      promised_seconds: length by its header; None where there is none, or only a placeholder.
      cut: the file ends inside a page, so that it is cut off although no length is stated.
      head: a header with the true length, instead of the one of the file; empty where that is right.
      body: where in the file that header ends.
      body_end: where the audio ends; None: at the end of the file.
      following: where another file is joined to the end of this one.
      may_go_on: whether that, and audio beyond the stated length, shows only after decoding.
    """

    complete: bool = True
    promised_seconds: float | None = None
    cut: bool = False
    head: bytes = b""
    body: int = 0
    body_end: int | None = None
    following: int | None = None
    may_go_on: bool = False


class _View:
    """Bytes of a file by position, read in blocks."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.size = file.seek(0, 2)
        self._start, self._block = 0, b""

    def __call__(self, position: int, count: int) -> bytes:
        start = position - self._start
        if not 0 <= start <= len(self._block) - count:
            self.file.seek(position)
            self._start, self._block = position, self.file.read(max(count, _READ_BYTES))
            start = 0
        return self._block[start : start + count]

    def find(self, mark: bytes, position: int) -> int | None:
        """Where `mark` is found from a position on."""
        while block := self(position, _SEARCH_BYTES):
            found = block.find(mark)
            if found >= 0:
                return position + found
            position += max(1, len(block) - len(mark) + 1)
        return None


def examine(file: BinaryIO) -> Facts:
    """Reads the structure of a seekable file; what is no known container is left to the decoders."""
    view = _View(file)
    start = _id3_bytes(view, 0)
    magic = view(start, 12)
    try:
        if magic[:4] in (b"RIFF", b"RF64") and magic[8:] == b"WAVE":
            return _wav(view)
        if magic[:4] == b"fLaC":
            return _flac(view, start)
        if magic[:4] == b"OggS":
            return _ogg(view, start)
        if magic[:4] == b".snd":
            return _au(view)
        if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
            return _aiff(view)
        if magic[4:8] == b"ftyp":
            return _mp4(view)
        if magic[:4] == b"caff":
            return _caf(view)
        if magic[:4] == b"riff":
            return _w64(view)
        if magic[:7] == b"NIST_1A":
            return _sphere(view)
        if start or _mp3_frame(view(start, 4)):
            return _mp3(view, start)
    except (struct.error, LookupError, ValueError, ArithmeticError):
        return Facts()
    return Facts()


def following_flac(file: BinaryIO) -> int | None:
    """Where another FLAC is joined to the end of a FLAC, as by `cat`."""
    return _View(file).find(b"fLaC\x00\x00\x00\x22", 4)


def unlimited_flac(file: BinaryIO) -> Facts:
    """A FLAC without the number of samples in its header, so that it is read to the end of the file."""
    head = bytearray(_View(file)(0, 26))
    head[21] &= 0xF0
    head[22:26] = bytes(4)
    return Facts(head=bytes(head), body=26)


def _id3_bytes(view: _View, position: int) -> int:
    """Position after the ID3v2 tags at `position`."""
    while (head := view(position, 10))[:3] == b"ID3" and len(head) == 10:
        size = sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        position += 10 + size + (10 if head[5] & 0x10 else 0)
    return position


def _wav(view: _View) -> Facts:
    position, format_chunk, long_size, frames, regular = 12, b"", 0, 0, True
    for _ in range(_MAX_CHUNKS):
        name, size = struct.unpack("<4sI", view(position, 8))
        if name == b"data":
            break
        if name == b"fmt ":
            format_chunk = view(position, 8 + size)
        elif name == b"fact" and size >= 4:
            frames = struct.unpack("<I", view(position + 8, 4))[0]
        elif name == b"ds64":
            long_size = struct.unpack("<Q", view(position + 16, 8))[0]
        position += 8 + size
        if size % 2:
            # Some writers leave out the byte that pads a chunk of odd size.
            padded = view(position, 4) not in (b"data", b"fmt ", b"fact", b"LIST")
            regular = regular and padded
            position += padded
    start = position + 8
    there = view.size - start
    if long_size and size == 0xFFFFFFFF:
        size = long_size
    codec, _, rate_hz, byte_rate, frame_bytes = struct.unpack("<HHIIH", format_chunk[8:22])
    is_pcm = codec in (1, 3, 6, 7, 0xFFFE)
    if is_pcm:
        byte_rate = rate_hz * frame_bytes
    placeholder = size == 0 or _PLACEHOLDER_BYTES <= size <= 0xFFFFFFFF
    if size > there and not placeholder:
        # The byte rate of compressed formats is often wrong.
        return Facts(promised_seconds=frames / rate_hz if frames and not is_pcm else size / byte_rate)
    end = start + size + size % 2
    if size < there and view(end, 4) == b"RIFF" and view(end + 8, 4) == b"WAVE":
        return Facts(head=view(0, start), body=start, body_end=start + size, following=end)
    if regular and (size == there or (size < there and _only_chunks(view, start + size, byte_rate))):
        return Facts()
    size = size if size < there and _only_chunks(view, start + size, byte_rate) else there
    inner = b"WAVE" + format_chunk + struct.pack("<4sI", b"data", min(size, 0xFFFFFFFF))
    head = struct.pack("<4sI", b"RIFF", min(len(inner) + size, 0xFFFFFFFF)) + inner
    return Facts(head=head, body=start, body_end=start + size)


def _only_chunks(view: _View, position: int, byte_rate: int) -> bool:
    """Whether nothing but further chunks, a tag or padding follows the samples of a WAV."""
    rest = view.size - position
    if rest < byte_rate / 50 or view(position, 3) in (b"TAG", b"ID3") or not any(view(position, min(rest, 4096))):
        return True
    position += view(position, 1) == b"\0"
    for _ in range(_MAX_CHUNKS):
        if view.size - position < 8:
            return True
        name, size = struct.unpack("<4sI", view(position, 8))
        position += 8 + size + size % 2
        if not all(0x20 <= byte < 0x7F for byte in name) or position > view.size + 1:
            return False
    return False


def _flac(view: _View, start: int) -> Facts:
    numbers = int.from_bytes(view(start + 18, 8), "big")
    rate_hz, frames = numbers >> 44, numbers & ((1 << 36) - 1)
    return Facts(promised_seconds=frames / rate_hz if frames else None, may_go_on=True)


class _OggLink(NamedTuple):
    """A logical stream: its rate, what its positions begin with, and the first and last position, in samples."""

    rate_hz: int
    skipped: int
    first: int = 0
    last: int = 0

    @property
    def seconds(self) -> float:
        # A stream that was recorded while it was broadcast does not begin at 0; no page holds as much as that.
        begin = 0 if self.first < 2 * self.rate_hz else self.first
        return max(0, self.last - begin - self.skipped) / self.rate_hz


def _ogg(view: _View, position: int) -> Facts:
    links: list[_OggLink] = []
    index: dict[bytes, int] = {}
    unbroken = True
    while position < view.size:
        page = view(position, 27)
        if len(page) < 27 or page[:4] != b"OggS":
            following = view.find(b"OggS", position + 1)
            unbroken = unbroken and following is None and page[:4] == b"OggS"
            if following is None:
                break
            position = following
            continue
        serial, granule = page[14:18], struct.unpack("<q", page[6:14])[0]
        table = view(position + 27, page[26])
        position += 27 + len(table)
        if page[5] & 2:
            index[serial] = len(links)
            links.append(_ogg_link(view(position, sum(table))))
        elif granule > 0 and serial in index and position + sum(table) <= view.size:
            link = links[index[serial]]
            links[index[serial]] = link._replace(first=link.first or granule, last=granule)
        position += sum(table)
    # Otherwise it ends with a page, or with padding or a tag.
    cut = position > view.size or view(position, 4) == b"OggS"
    promised = sum(link.seconds for link in links)
    return Facts(complete=len(links) == 1 and unbroken, cut=cut, promised_seconds=promised or None)


def _ogg_link(packet: bytes) -> _OggLink:
    if packet[:7] == b"\x01vorbis":
        return _OggLink(struct.unpack("<I", packet[12:16])[0], 0)
    if packet[:8] == b"OpusHead":
        return _OggLink(48000, struct.unpack("<H", packet[10:12])[0])
    if packet[:8] == b"Speex   ":
        return _OggLink(struct.unpack("<I", packet[36:40])[0], 0)
    if packet[:5] == b"\x7fFLAC":
        return _OggLink(int.from_bytes(packet[27:30], "big") >> 4, 0)
    # Video, subtitles, or an index: its positions are no samples.
    return _OggLink(1 << 62, 0)


def _au(view: _View) -> Facts:
    size, encoding, rate_hz, channels = struct.unpack(">IIII", view(8, 16))
    if size >= _PLACEHOLDER_BYTES:
        return Facts()
    return Facts(promised_seconds=size / (rate_hz * channels * _AU_SAMPLE_BYTES[encoding]))


def _mp4(view: _View) -> Facts:
    position = 0
    while position < view.size:
        size, _, long_size = struct.unpack(">I4sQ", view(position, 16).ljust(16, b"\0"))
        size = {0: view.size - position, 1: long_size}.get(size, size)
        if size < 8:
            return Facts(complete=False)
        position += size
    return Facts(complete=False, cut=position > view.size)


def _caf(view: _View) -> Facts:
    position, seconds_per_byte = 8, 0.0
    while True:
        name, size = struct.unpack(">4sq", view(position, 12))
        if name == b"desc":
            rate_hz, _, _, packet_bytes, packet_frames = struct.unpack(">d4sIII", view(position + 12, 24))
            seconds_per_byte = packet_frames / packet_bytes / rate_hz
        if name == b"data":
            return Facts(promised_seconds=(size - 4) * seconds_per_byte if size > 0 else None)
        # A negative size would lead back to a chunk that has been read, for ever.
        position += 12 + max(size, 0)


def _w64(view: _View) -> Facts:
    position, byte_rate = 40, 0
    while True:
        name, size = struct.unpack("<4s12xQ", view(position, 24))
        if name == b"fmt ":
            byte_rate = struct.unpack("<I", view(position + 32, 4))[0]
        if name == b"data":
            return Facts(promised_seconds=(size - 24) / byte_rate if size < 1 << 62 else None)
        # The size includes these 24 bytes; a smaller one would lead to the same chunk, for ever.
        position += max(24, (size + 7) // 8 * 8)


def _aiff(view: _View) -> Facts:
    position = 12
    while True:
        name, size = struct.unpack(">4sI", view(position, 8))
        if name == b"COMM":
            _, frames, _, exponent, mantissa = struct.unpack(">HIHHQ", view(position + 8, 18))
            return Facts(promised_seconds=frames / (mantissa / 2 ** (63 - (exponent - 16383))))
        position += 8 + size + size % 2


def _sphere(view: _View) -> Facts:
    fields = (line.split() for line in view(0, 1024).decode("latin-1").splitlines())
    values = {field[0]: field[2] for field in fields if len(field) == 3}
    return Facts(promised_seconds=int(values["sample_count"]) / int(values["sample_rate"]))


class _Mp3Frame(NamedTuple):
    """The header of a frame of MPEG audio."""

    kind: tuple[int, int, int]
    bitrate: int
    size: int
    samples: int


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3), head[2] >> 2 & 3
    if version == 1 or layer == 4 or rate == 3 or head[2] >> 4 in (0, 15):
        return None
    full = version == 3
    rate_hz = (44100, 48000, 32000)[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bitrate = _MP3_BITRATES[1 if full else 2, layer][head[2] >> 4]
    samples = {1: 384, 2: 1152, 3: 1152 if full else 576}[layer]
    unit = 4 if layer == 1 else 1
    size = (samples // 8 * bitrate * 1000 // rate_hz // unit + (head[2] >> 1 & 1)) * unit
    return _Mp3Frame((version, layer, rate_hz), bitrate, size, samples)


def _mp3(view: _View, position: int) -> Facts:
    """An MP3 is complete for libsndfile where its frames are as many as its Xing, Info or VBRI header states."""
    first = _mp3_frame(view(position, 4))
    if first is None:
        return Facts(complete=False)
    stated = _stated_mp3_frames(view(position, first.size))
    frames, constant, cut = 0, True, False
    if stated is not None:
        position += first.size
    while position < view.size:
        frame = _mp3_frame(view(position, 4))
        if frame is None or frame.kind != first.kind:
            break
        position += frame.size
        frames += 1
        constant = constant and frame.bitrate == first.bitrate
    cut = position > view.size
    seconds_per_frame = first.samples / first.kind[2]
    if stated:
        # Encoders count the header's own frame or do not, and drop up to three frames of their delay.
        complete = frames <= stated + 1 and (cut or _is_tag(view, position))
        promised = max(stated - 3, 0) * seconds_per_frame if frames < stated - 1 else None
        return Facts(complete=complete or promised is not None, promised_seconds=promised)
    # Without such a header its length is estimated from the first frame.
    return Facts(complete=constant and stated is None and _is_tag(view, position))


def _stated_mp3_frames(frame: bytes) -> int | None:
    """Number of frames by the header in the first frame; None without one, 0 where it does not state the number."""
    for mark, place in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = frame.find(mark)
        if at >= 0:
            if mark != b"VBRI" and not frame[at + 7] & 1:
                return 0
            return struct.unpack(">I", frame[at + place : at + place + 4])[0]
    return None


def _is_tag(view: _View, position: int) -> bool:
    """Whether a file ends here, or with tags or padding."""
    if view(position, 8) == b"APETAGEX":
        position += 32 + struct.unpack("<I", view(position + 12, 4))[0]
    if view(position, 3) == b"TAG":
        position += 128
    return position >= view.size or not any(view(position, min(view.size - position, _READ_BYTES)))
