"""Laws of finding audio files."""

from tfvoice.audio import files


def test_audio_files_are_found_by_their_names_in_all_folders(tmp_path):
    for name in ("a.wav", "b.MP3", "x/y/c.flac", "x/.hidden.wav", "notes.txt", "wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = sorted(path.removeprefix(f"{tmp_path}/") for path in files.below(str(tmp_path)))
    assert found == ["a.wav", "b.MP3", "x/y/c.flac"]
