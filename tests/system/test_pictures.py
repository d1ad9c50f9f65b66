"""`make docs`: the pictures of the documentation are made of what is there now."""

from __future__ import annotations

from pathlib import Path

from pictures.__main__ import PICTURES, make


def test_all_pictures_are_made_and_the_drawings_are_those_of_their_texts(tmp_path: Path) -> None:
    make(tmp_path)
    made = {file.name for file in tmp_path.iterdir()}
    shown = {file.name for file in PICTURES.iterdir() if file.suffix != ".dot"}
    assert made == shown - {"scale.svg"}, "benches/scale alone draws that one"
    for text in PICTURES.glob("*.dot"):
        drawing = f"{text.stem}.svg"
        assert (tmp_path / drawing).read_bytes() == (PICTURES / drawing).read_bytes()
