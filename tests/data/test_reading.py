import zlib

import numpy as np
import pytest

from copt_d2.data.label_spaces import CITYSCAPES, SYNTHIA
from copt_d2.data.reading import image_size, read_image, read_train_ids
from copt_d2.errors import InputError

TABLE = np.array(CITYSCAPES.table, dtype=np.uint8)
SYNTHIA_TABLE = np.array(SYNTHIA.table, dtype=np.uint8)


def test_image_channels_are_rgb(folder):
    path = folder.image("a.png", (5, 7), value=(10, 20, 30))
    image = read_image(path)
    assert image.shape == (5, 7, 3)
    assert image.dtype == np.uint8
    assert image[2, 3].tolist() == [10, 20, 30]


def test_grey_image_gets_three_channels(folder):
    path = folder.label("a.png", np.full((5, 7), 9))
    assert (read_image(path) == 9).all()
    assert read_image(path).shape == (5, 7, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("kept", [0, 0.02, 0.5, 0.97])
def test_truncated_image(folder, name, kept):
    path = folder.image(name, (40, 60))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(
        InputError, match=rf"{name} cannot be decoded.*restore the file, or remove it"
    ):
        read_image(path)


def test_text_file_instead_of_an_image(tmp_path):
    (tmp_path / "a.jpg").write_text("404: not found")
    with pytest.raises(InputError, match=r"a.jpg cannot be decoded"):
        read_image(tmp_path / "a.jpg")


def test_missing_files(tmp_path):
    with pytest.raises(InputError, match=r"no.png cannot be read: No such file"):
        read_image(tmp_path / "no.png")
    with pytest.raises(InputError, match=r"label file .*no.png cannot be read: No such file"):
        read_train_ids(tmp_path / "no.png", TABLE)
    with pytest.raises(InputError, match=r"image .*no.png cannot be read: No such file"):
        image_size(tmp_path / "no.png")


def test_grey_labels_go_through_the_table(folder):
    path = folder.label("a.png", [[7, 33, 0], [26, 255, 29]])
    assert read_train_ids(path, TABLE).tolist() == [[0, 18, 255], [13, 255, 255]]
    assert read_train_ids(path, TABLE).dtype == np.uint8


def test_palette_labels_are_read_by_index(folder):
    # the colour of index 8 is the grey of index 7's: reading colours would confuse the two
    palette = [(9, 9, 9)] * 7 + [(8, 8, 8), (7, 7, 7)] + [(3, 4, 5)] * 247
    path = folder.palette_label("a.png", [[7, 8], [8, 7]], palette)
    assert read_train_ids(path, TABLE).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("kept", [0, 0.5, 0.9, 0.995])
def test_truncated_label(folder, kept):
    noise = np.random.default_rng(0).integers(0, 34, (40, 60))
    path = folder.label("a.png", noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(
        InputError, match=r"a.png cannot be decoded.*restore the file, or remove it"
    ) as error:
        read_train_ids(path, TABLE)
    assert "\n" not in str(error.value)


def test_synthia_ids_are_in_the_red_channel(folder):
    """Written by hand: no library's channel order or bit depth comes in between."""
    red, green, blue = 17, 3, 8  # rider; were another channel read: road, car; an 8-bit reader: 0
    row = b"\0" + b"".join(v.to_bytes(2, "big") for v in (red, green, blue) * 2)

    def chunk(kind, body):
        size, check = len(body).to_bytes(4, "big"), zlib.crc32(kind + body).to_bytes(4, "big")
        return size + kind + body + check

    header = (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 3)) + chunk(b"IEND", b"")
    folder.root.mkdir()
    path = folder.root / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    train_ids = read_train_ids(path, SYNTHIA_TABLE)
    assert train_ids.tolist() == [[12, 12]] * 3
    assert train_ids.dtype == np.uint8


def test_synthia_void_and_what_exceeds_8_bits_is_ignored(folder):
    # 259 = 256 + 3 would be road if it were wrapped
    path = folder.synthia_label("a.png", [[22, 13, 14, 0], [3, 259, 65535, 21]])
    assert read_train_ids(path, SYNTHIA_TABLE).tolist() == [[255] * 4, [0, 255, 255, 3]]


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.999])
def test_truncated_synthia_label(folder, kept, capfd):
    path = folder.synthia_label("a.png", np.full((40, 60), 3))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(
        InputError, match=r"a.png cannot be decoded.*restore the file, or remove it"
    ):
        read_train_ids(path, SYNTHIA_TABLE)
    assert capfd.readouterr().err == ""


def test_ids_outside_the_table_are_named(folder):
    path = folder.label("a.png", [[7, 35, 40], [40, 255, 34]])
    with pytest.raises(InputError) as error:
        read_train_ids(path, TABLE)
    assert str(error.value) == (
        f"label file {path} holds values that its data set does not know: 40 (2 pixels), 35 (1 "
        "pixels); known are 0-34, 255: correct the file, or the table of its label space"
    )


def test_many_unknown_ids_are_summed_up(folder):
    path = folder.label("a.png", [[*range(100, 110), 109]])
    with pytest.raises(InputError, match=r"109 \(2 pixels\), .* and 5 more values; known") as error:
        read_train_ids(path, TABLE)
    assert "\n" not in str(error.value)


def test_image_size_is_height_and_width(folder):
    path = folder.image("a.png", (5, 7))
    assert image_size(path) == (5, 7)
    path.write_bytes(path.read_bytes()[:10])
    with pytest.raises(InputError, match=r"a.png cannot be decoded"):
        image_size(path)


def test_colour_labels_are_refused(folder):
    path = folder.image("a.png", (5, 7))
    with pytest.raises(InputError, match=r"a.png has 8-bit colours: needed is one channel"):
        read_train_ids(path, TABLE)
