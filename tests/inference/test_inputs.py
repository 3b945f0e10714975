"""What is no image or no model is refused in one line."""

from types import SimpleNamespace

import huggingface_hub
import numpy as np
import pytest
from PIL import Image

from copt_d2.errors import InputError
from copt_d2.inference.pictures import as_picture
from copt_d2.inference.sources import weights_file

GREY = np.zeros((4, 5), np.uint8)
RGB = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (RGB / 255, r"type float64; needed .*: values of 0 to 1"),
        (np.full((4, 5, 3), np.nan, np.float32), "type float32; needed"),
        (RGB.astype(np.int64), "type int64; needed"),
        (np.dstack([RGB, GREY]), r"\(4, 5, 4\).*leave out the fourth channel"),
        (GREY, r"\(4, 5\).*repeat grey"),
        (RGB.transpose(2, 0, 1), r"\(3, 4, 5\).*the channels come last"),
        (RGB[None], r"give a batch as a list"),
        (RGB[:0], "it is empty"),
        (None, "an image is a NoneType; needed"),
        (7, "an image is a int; needed"),
        ("no such file.png", "no such file.png cannot be read"),
        (Image.new("F", (2, 2)), "mode 'F': convert it"),
        (Image.new("RGB", (0, 3)), "is empty, 0x3 pixels"),
    ],
)
def test_wrong_images(given, words):
    with pytest.raises(InputError, match=words) as raised:
        as_picture(given)
    assert "\n" not in str(raised.value)


def test_images_of_pillow_are_taken_upright_and_in_colour(tmp_path):
    image = Image.fromarray(RGB)
    assert np.array_equal(as_picture(image)[0], RGB)
    assert np.array_equal(as_picture(image.convert("RGBA"))[0], RGB)
    assert np.array_equal(as_picture(Image.fromarray(GREY + 7))[0], np.full((4, 5, 3), 7))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as turned:
        from_pillow = as_picture(turned)[0]
    assert np.array_equal(from_pillow, np.rot90(RGB, -1))
    assert np.array_equal(from_pillow, as_picture(tmp_path / "turned.png")[0])


def test_16_bits_are_those_of_the_model(tmp_path):
    deep = np.array([[0, 1023, 512]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    for given in (tmp_path / "deep.png", Image.fromarray(deep)):
        assert as_picture(given, bit_depth=10)[0][0, :, 0].tolist() == [0, 255, 128]
        with pytest.raises(InputError, match="holds the value 1023, more than the 8 bits"):
            as_picture(given, bit_depth=8)


def test_models_that_are_not_there_or_run_code(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("model.pt2", "model.torchscript"):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match="can run code that is in it"):
            weights_file(tmp_path / name)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(InputError, match="cannot run ONNX files"):
        weights_file(tmp_path / "model.onnx")
    with pytest.raises(InputError, match=r"no such model: nowhere\.pth; give the folder"):
        weights_file("nowhere.pth")
    with pytest.raises(InputError, match="named by a path or a Hugging Face id, not by a int"):
        weights_file(3)
    with pytest.raises(InputError, match=r"holds no checkpoint .*: train first"):
        weights_file(tmp_path)


def test_an_id_on_the_hub(tmp_path, monkeypatch):
    answers = {"info": OSError("no network\nat all"), "cached": None}

    def info(_self, _name, timeout):
        if isinstance(answers["info"], Exception):
            raise answers["info"]
        files = [SimpleNamespace(rfilename=file) for file in answers["info"]]
        return SimpleNamespace(siblings=files)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_a: answers["cached"])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a: "/".join(a))
    with pytest.raises(InputError, match=r"no such folder or file: some/model; .*no network at al"):
        weights_file("some/model")
    answers["info"] = ["pytorch_model.bin", "README.md"]
    with pytest.raises(InputError, match=r"it has no model\.safetensors and no model_final"):
        weights_file("some/model")
    answers["info"] = ["README.md", "model_final.safetensors"]
    assert str(weights_file("some/model")) == "some/model/model_final.safetensors"
    answers["cached"] = str(tmp_path / "model.safetensors")
    assert weights_file("some/model") == tmp_path / "model.safetensors"
