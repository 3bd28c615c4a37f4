"""`nnx.read_pictures`: pictures of one's own in Python."""

import numpy as np
import pytest
from PIL import Image

import nnx
from nnx.datasets import digits
from nnx.training import RunConfig, RunData, RunFolder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for row in range(3):
        large = np.kron(255 - digits().x[row] * 15, np.ones((9, 9), np.uint8))
        Image.fromarray(np.pad(large, 40, constant_values=255)).save(tmp_path / f"{row}.png")
    return tmp_path


@pytest.mark.parametrize("channels", [False, True])
def test_like_a_run_or_its_data(here, channels):
    data = digits().pictures() if channels else digits()
    folder = RunFolder.new(here / "run", "digits")
    folder.write_config(RunConfig(), RunData.of(data))
    pictures = nnx.read_pictures("*.png", like="run")
    assert pictures.x.shape == (3, *data.x.shape[1:])
    assert pictures.x.dtype == np.float32
    assert [file.name for file in pictures.files] == ["0.png", "1.png", "2.png"]
    assert "dark on light, inverted; cropped to its 72 x " in pictures.notes[0]
    ink = data.inputs()[:3]
    shifts = [np.roll(pictures.x, shift, -1) for shift in (-1, 0, 1)]
    apart = [np.abs(shifted - ink).reshape(3, -1).sum(1) / ink.reshape(3, -1).sum(1) for shifted in shifts]
    assert np.min(apart, axis=0).max() < 0.25
    again = nnx.read_pictures([here / "0.png"], like=data)
    np.testing.assert_array_equal(again.x, pictures.x[:1])
    as_is = nnx.read_pictures("0.png", like="run", as_is=True)
    assert as_is.x.mean() > 0.5
    assert as_is.notes == ("152 x 152 pixels, scaled to 8 x 8",)


def test_what_is_refused(here):
    rows = nnx.datasets.Dataset("rows", np.zeros((20, 64)), np.arange(20) % 2, 1, ("0", "1"))
    Image.new("L", (30, 30), 255).save("empty.png")
    for paths, like, error, message in (
        ("0.png", "nowhere", nnx.InputError, "nowhere: is no run folder"),
        ("0.png", 3, nnx.InputTypeError, "like: got int, expected the folder of a run, or a Dataset"),
        ("0.png", rows, nnx.InputError, "like: rows tells of no pictures, grey or coloured"),
        ([], digits(), nnx.InputError, "paths: got none, expected image files"),
        ("9.png", digits(), nnx.DatasetError, "9.png: there is no such file"),
        (["0.png", "empty.png"], digits(), nnx.InputError, "empty.png: is an empty sheet"),
    ):
        with pytest.raises(error, match=message):
            nnx.read_pictures(paths, like)
