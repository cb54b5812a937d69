"""Latency of words in `tfvoice_transcribe --stream`, for recordings that arrive in real time.

  python tests/benchmarks/latency.py --run=runs/live a.wav b.wav

The clock is that of the audio: the latency of a word is the audio that had arrived when it was final, less the end of
the word. The computation of a block is timed separately. The text for pieces of 20 ms, 100 ms, 1 s and 7 s is compared
with that of the whole file.
"""

import argparse
import sys
import time

import numpy as np

_PIECES_SECONDS = (0.02, 0.1, 1.0, 7.0)


def main() -> int:
    """Prints quantiles; returns 1 where a text depends on the pieces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("files", nargs="+")
    flags = parser.parse_args()

    from tfvoice.asr.recognizer import Recognizer
    from tfvoice.asr.streaming import BLOCK_SECONDS, StreamingTranscriber
    from tfvoice.asr.transcribe import Transcriber
    from tfvoice.audio import io

    run = Recognizer.load(flags.run)
    rate_hz = run.config.features.sample_rate_hz
    streaming, transcriber = StreamingTranscriber(run), Transcriber(run)
    latencies, blocks, seconds, unequal = [], [], 0.0, 0
    for file in flags.files:
        samples = io.read(file, rate_hz)
        seconds += len(samples) / rate_hz
        texts = {transcriber.transcribe(file).text}
        for piece in _PIECES_SECONDS:
            size, arrived, started = round(piece * rate_hz), [0.0], [0.0]

            def pieces(samples=samples, size=size, arrived=arrived, started=started):
                for start in range(0, len(samples), size):
                    arrived[0] = min(start + size, len(samples)) / rate_hz
                    started[0] = time.perf_counter()
                    yield samples[start : start + size]
                arrived[0] = None

            words = []
            for word in streaming.words(pieces()):
                words.append(word.text)
                if piece == _PIECES_SECONDS[0] and arrived[0] is not None:
                    latencies.append(arrived[0] - word.end)
                    blocks.append(time.perf_counter() - started[0])
            texts.add(" ".join(words))
        unequal += len(texts) > 1
    print(f"{len(flags.files)} files, {seconds / 60:.1f} minutes; texts that depend on the pieces: {unequal}")
    quantiles = np.quantile(latencies, [0.5, 0.9, 1.0])
    median, most, longest = quantiles
    print(f"{len(latencies)} words, latency {median:.2f} s (median), {most:.2f} s (90 %), {longest:.2f} s (maximum)")
    print(f"a block of {BLOCK_SECONDS:g} s takes {1000 * np.median(blocks):.0f} ms (median)")
    return int(unequal > 0)


if __name__ == "__main__":
    sys.exit(main())
