"""Samples to an encoded file, block by block: each block gives the bytes that can be sent already."""

import io
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from tfvoice.audio import io as audio_io


class AudioFormat(NamedTuple):
    """How audio is encoded.

    Attributes:
      media_type: in HTTP.
      container, subtype: names of libsndfile; empty for what needs no encoder.
      rates_hz: that it has; empty: any. Audio of another rate is resampled to `FALLBACK_HZ`.
    """

    media_type: str
    container: str = ""
    subtype: str = ""
    rates_hz: tuple[int, ...] = ()


FALLBACK_HZ = 24000
# `raw` are samples of 16 bits, little-endian; `pcm` the same at 24 kHz, as in OpenAI's API.
FORMATS = {
    "wav": AudioFormat("audio/wav"),
    "raw": AudioFormat("audio/pcm"),
    "pcm": AudioFormat("audio/pcm", rates_hz=(FALLBACK_HZ,)),
    "flac": AudioFormat("audio/flac", "FLAC", "PCM_16"),
    "mp3": AudioFormat(
        "audio/mpeg", "MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
    ),
    "opus": AudioFormat("audio/ogg", "OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
}


class AudioEncoder:
    """Encodes one recording.

    The concatenation of what `start`, the calls of `encode` and `finish` return is a file. WAV and FLAC state how long
    they are; MP3 and Opus do not, as where they are written to a pipe.

    Args:
      format: a key of `FORMATS`.
      sample_rate_hz: of the samples.
      samples: how many there will be.

    Attributes:
      rate_hz: of the file.
    """

    def __init__(self, format: str, sample_rate_hz: int, samples: int):
        chosen = FORMATS[format]
        self.rate_hz, self._samples = sample_rate_hz, samples
        self._format, self._resampler, self._file = format, None, None
        if chosen.rates_hz and sample_rate_hz not in chosen.rates_hz:
            self.rate_hz = FALLBACK_HZ
            self._resampler = soxr.ResampleStream(sample_rate_hz, self.rate_hz, 1, dtype="float32")
        if chosen.container:
            self._written = _Appended(_FLAC_LENGTH if format == "flac" else 0, samples)
            self._file = soundfile.SoundFile(
                self._written, "w", self.rate_hz, 1, chosen.subtype, format=chosen.container
            )

    def start(self) -> bytes:
        """The first bytes of the file."""
        return audio_io.streamed_wav_header(self.rate_hz, self._samples) if self._format == "wav" else b""

    def encode(self, samples: np.ndarray) -> bytes:
        """What can be sent after float `[samples]` in -1 to 1; perhaps nothing."""
        if self._resampler:
            samples = self._resampler.resample_chunk(np.ascontiguousarray(samples, np.float32))
        return self._encoded(samples)

    def finish(self) -> bytes:
        """The last bytes of the file."""
        data = (
            self._encoded(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
            if self._resampler
            else b""
        )
        if self._file:
            self._file.close()
            data += self._written.take()
        return data

    def _encoded(self, samples: np.ndarray) -> bytes:
        pcm = audio_io.to_pcm16(samples)
        if not self._file:
            return pcm.astype("<i2").tobytes()
        self._file.write(pcm)
        return self._written.take()


# Where the number of samples begins in a FLAC: 36 bits, of which the first four share a byte (RFC 9639, section 8.2).
_FLAC_LENGTH = 21


class _Appended(io.RawIOBase):
    """What libsndfile has written at the end of its file; what it writes again, into the header, is ignored.

    Args:
      length_at: the byte of the file in whose lower half a number of samples begins; 0: it has none.
      samples: that number.
    """

    def __init__(self, length_at: int, samples: int):
        self._parts, self._place, self._end = [], 0, 0
        self._length_at, self._samples = length_at, samples

    def take(self) -> bytes:
        """The bytes since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

    def write(self, data) -> int:
        if self._place == self._end:
            self._parts.append(self._with_length(bytearray(data)))
            self._end += len(data)
        self._place += len(data)
        return len(data)

    def _with_length(self, data: bytearray) -> bytearray:
        at = self._length_at - self._end
        if self._length_at and 0 <= at <= len(data) - 5:
            number = int.from_bytes(data[at : at + 5], "big") & ~(2**36 - 1) | self._samples
            data[at : at + 5] = number.to_bytes(5, "big")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._end}[whence]
        return self._place

    def tell(self) -> int:
        return self._place
