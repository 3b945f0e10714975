"""Label maps in every form in which tools store them: the values as stored, or one line."""

import numpy as np
import pytest
from picture_files import GREY, GREY_ALPHA, PALETTE, RGB, chunk, encoded, exif, png
from PIL import Image

from copt_d2.data.label_spaces import CITYSCAPES, SYNTHIA, train_id_table
from copt_d2.data.reading import image_size, read_train_ids
from copt_d2.errors import InputError

SHAPES = [(7, 11), (1, 1), (1, 13), (13, 1)]
NOISE = np.random.default_rng(0)


@pytest.fixture
def read(tmp_path):
    """What bytes give as label file of a data set with as many classes as asked for."""

    def call(content, classes=None, table=None):
        path = tmp_path / "labels.png"  # the content counts, never the ending
        path.write_bytes(content)
        train_ids = read_train_ids(
            path, np.array(train_id_table(classes) if table is None else table, np.uint8)
        )
        assert train_ids.dtype == np.uint8
        assert train_ids.flags.writeable
        assert image_size(path) == train_ids.shape
        return train_ids

    return call


@pytest.fixture
def refused(read):
    """The one line about bytes that are no label file."""

    def call(content, classes=250, table=None):
        with pytest.raises(InputError) as error:
            read(content, classes, table)
        line = str(error.value)
        assert "labels.png" in line
        assert "\n" not in line
        assert "fetch" not in line
        return line

    return call


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour", [GREY, PALETTE])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_samples_are_read_as_stored(read, bits, colour, interlaced, shape):
    labels = NOISE.integers(0, min(2**bits, 200), shape)
    # neither colours nor transparency count
    palette = NOISE.integers(0, 256, (2**bits, 3)) if colour == PALETTE else None
    transparent = chunk(b"tRNS", b"\0\1" if colour == GREY else b"\0")
    for before in (b"", transparent):
        content = png(labels, bits, colour, interlaced=interlaced, palette=palette, before=before)
        np.testing.assert_array_equal(read(content, classes=200), labels)


def test_the_extremes_of_few_bits_are_no_255(read, refused):
    """Stretched to 8 bits, 15 would be 255, ignored, and 3 would be 51."""
    assert read(png([[0, 15]], 4), classes=16).tolist() == [[0, 15]]
    assert read(png([[0, 1]], 1), classes=2).tolist() == [[0, 1]]
    assert "3 (1 pixels); known are 0-2, 255" in refused(png([[0, 3]], 2), classes=3)
    assert read(png([[7, 11]], 4), table=CITYSCAPES.table).tolist() == [[0, 2]]


@pytest.mark.parametrize("interlaced", [False, True])
def test_grey_of_16_bits_holds_ids_as_they_are(read, refused, interlaced):
    labels = NOISE.integers(0, 200, (7, 11))
    content = png(labels, 16, interlaced=interlaced)
    np.testing.assert_array_equal(read(content, classes=200), labels)
    assert read(png([[255, 3]], 16), classes=4).tolist() == [[255, 3]]


@pytest.mark.parametrize("table", [CITYSCAPES.table, SYNTHIA.table, (0,) * 256])
def test_no_table_has_values_above_255(refused, table):
    """Cityscapes' instance files: 26 * 1000 + number is no class, and 256 + 7 must not become 7."""
    line = refused(png([[7, 26001], [26001, 263]], 16), table=table)
    assert "does not know: 26001 (2 pixels), 263 (1 pixels); known are " in line


def test_red_channel_of_other_sets_than_synthia(read, refused):
    content = png(np.dstack([[[3, 700]], [[0, 1]], [[2, 2]]]), 16, RGB)
    assert "700 (1 pixels)" in refused(content, classes=4)
    assert read(content, table=SYNTHIA.table).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("form", "options"),
    [
        *(("TIFF", {"compression": c}) for c in (None, "tiff_lzw", "tiff_deflate", "packbits")),
        ("BMP", {}),
    ],
)
def test_other_files_without_loss(read, form, options):
    labels = NOISE.integers(0, 200, (7, 11)).astype(np.uint8)
    np.testing.assert_array_equal(read(encoded(labels, form, **options), classes=200), labels)
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette(NOISE.integers(0, 256, 768).astype(np.uint8).tobytes())
    np.testing.assert_array_equal(read(encoded(picture, form, **options), 200), labels)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_tiff_of_16_bits(read, order):
    labels = NOISE.integers(0, 200, (7, 11))
    np.testing.assert_array_equal(read(encoded(labels.astype(order), "TIFF"), 200), labels)


FLAT = np.full((16, 16), 3, np.uint8)  # a lossy file of one value may even decode to it


@pytest.mark.parametrize(
    ("form", "options", "named"),
    [
        ("JPEG", {"quality": 100}, "JPEG"),
        ("WEBP", {"quality": 80}, "WebP"),
        ("WEBP", {"lossless": True}, "WebP"),
        ("TIFF", {"compression": "jpeg"}, "TIFF with the compression JPEG"),
        ("JPEG2000", {"irreversible": True}, "JPEG 2000"),
        ("AVIF", {}, "AVIF"),
        ("GIF", {}, "GIF"),
    ],
)
def test_files_with_loss_are_refused_by_content(refused, form, options, named):
    """Each value of them is known to the table, so nothing else could tell."""
    line = refused(encoded(FLAT, form, **options), table=(0,) * 256)
    assert f"is a {named}" in line or f"is of format {named}" in line
    assert "as PNG" in line


@pytest.mark.parametrize(
    "content",
    [
        png(np.zeros((3, 4, 3)), 8, RGB),
        png(np.zeros((3, 4, 2)), 8, GREY_ALPHA),
        encoded(np.zeros((3, 4, 3), np.uint8), "TIFF"),
        encoded(np.zeros((3, 4, 3), np.uint8), "BMP"),
        encoded(np.zeros((3, 4), np.bool_), "TIFF"),
        encoded(np.zeros((3, 4), np.bool_), "BMP"),
        encoded(np.zeros((3, 4), np.int32), "TIFF"),
        encoded(np.zeros((3, 4), np.float32), "TIFF"),
        b"GIF89a",
        b"BM",
        b"II*\0\xff\xff\xff\xff",
        b"RIFF\0\0\0\0WEBP",
        b"not a picture",
    ],
)
def test_what_has_no_single_channel_of_ids(refused, content):
    refused(content)


def test_what_follows_the_end_does_not_count(read):
    assert read(png([[1, 2]]) + b"junk" * 100, classes=3).tolist() == [[1, 2]]


def test_more_pixels_than_pillow_takes(read, monkeypatch):
    """Its limit, 179 megapixels, is set to 10 instead of making such a file."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    labels = NOISE.integers(0, 200, (7, 11)).astype(np.uint8)
    for form in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(read(encoded(labels, form), classes=200), labels)
    assert Image.MAX_IMAGE_PIXELS == 10  # other users of Pillow keep it


def test_a_header_that_claims_impossible_sizes_takes_no_memory(refused):
    huge = bytearray(png([[1, 2]]))
    huge[16:24] = b"\0\1\0\0" * 2  # 65536 x 65536
    assert "cannot hold its 65536x65536 pixels" in refused(bytes(huge))


def test_a_label_file_is_turned_by_its_own_orientation(read):
    labels = np.array([[1, 2, 3], [4, 5, 6]])
    for before, after in ((chunk(b"eXIf", exif(6)), b""), (b"", chunk(b"eXIf", exif(6)))):
        turned = read(png(labels, before=before, after=after), classes=7)
        assert turned.tolist() == [[4, 1], [5, 2], [6, 3]]  # a quarter turn to the right
