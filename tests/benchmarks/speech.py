"""From a text to its first sound, and to whole sentences, with the voice of the package, loaded and warm."""

import time

from measure import Failure, Options, Row

_TEXTS = {
    "a sentence": "Please call Stella and ask her to bring these things with her from the store.",
    "the first of a long text": "The north wind and the sun were disputing which of them was the stronger, when a "
    "traveller came along who was wrapped in a warm cloak, and they agreed that the one who first succeeded in making "
    "him take it off should be considered stronger than the other. " * 20,
}
_FIRST_SECONDS, _REAL_TIME = 0.5, 1.0


def rows(options: Options) -> list[Row]:
    """Seconds to the first sound of each text, and times real time of its first sentence, on two threads and one."""
    from tfvoice.tts.voice.run import PACKAGED_VOICE, VoiceRun
    from tfvoice.tts.voice.speaker import Speaker

    if not PACKAGED_VOICE.is_dir():
        raise Failure("this installation has no voice")
    voice, table = VoiceRun.load(PACKAGED_VOICE), []
    for threads in (2, 1):
        speaker = Speaker(voice, threads)
        speaker.speak(speaker.plan("This is a test."))
        for name, text in _TEXTS.items():
            firsts, wholes = [], []
            for _ in range(options.runs):
                start = time.perf_counter()
                sentence = next(speaker.sentences(text))
                samples = 0
                for block in speaker.stream(sentence):
                    if not samples:
                        firsts.append(time.perf_counter() - start)
                    samples += len(block)
                wholes.append((time.perf_counter() - start) * voice.sample_rate_hz / samples)
            first, speed = sorted(firsts)[len(firsts) // 2], 1 / sorted(wholes)[len(wholes) // 2]
            title = f"{name}, {threads} thread{'s' * (threads > 1)}"
            target = f"<= {_FIRST_SECONDS:g} s"
            row = Row(f"first sound of {title}", f"{first:.3f} s", target=target, met=first <= _FIRST_SECONDS)
            table.append(row._replace(seconds={"ours": firsts}))
            text = f"{speed:.2f} x real time, {samples / voice.sample_rate_hz:.1f} s"
            table.append(Row(f"speaking {title}", text, target=f">= {_REAL_TIME:g} x", met=speed >= _REAL_TIME))
    return table
