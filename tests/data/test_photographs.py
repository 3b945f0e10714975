"""Photographs in every form: three channels with the right values, or one line."""

import cv2
import numpy as np
import pytest
import torch
from picture_files import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, chunk, encoded, exif, png
from PIL import Image

from copt_d2.data.reading import image_size, read_image
from copt_d2.errors import InputError

NOISE = np.random.default_rng(0)
SHAPES = [(7, 11), (1, 1), (1, 13), (13, 1)]


@pytest.fixture
def read(tmp_path):
    """What bytes give as photograph."""

    def call(content, bit_depth=16):
        path = tmp_path / "image.png"
        path.write_bytes(content)
        image = read_image(path, bit_depth)
        assert image.dtype == np.uint8
        assert image.flags.writeable
        assert image_size(path) == image.shape[:2]
        return image

    return call


def grey(samples):
    return np.dstack([samples] * 3)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_png_of_every_kind(read, shape, interlaced):
    def agrees(expected, *args, **kwargs):
        content = png(*args, interlaced=interlaced, **kwargs)
        np.testing.assert_array_equal(read(content), expected)

    for bits in (1, 2, 4, 8):
        samples = NOISE.integers(0, 2**bits, shape)
        agrees(grey(samples * (255 // (2**bits - 1))), samples, bits, GREY)
        palette = NOISE.integers(0, 256, (2**bits, 3))
        agrees(palette[samples], samples, bits, PALETTE, palette=palette)
        transparent = chunk(b"tRNS", b"\0")
        agrees(palette[samples], samples, bits, PALETTE, palette=palette, before=transparent)
    for bits in (8, 16):
        samples = NOISE.integers(0, 2**bits, (*shape, 4))
        upper = samples >> (bits - 8)
        agrees(upper[..., :3], samples[..., :3], bits, RGB)
        agrees(upper[..., :3], samples, bits, RGB_ALPHA)  # transparency is left out, not blended
        agrees(grey(upper[..., 0]), samples[..., :2], bits, GREY_ALPHA)
    agrees(grey(upper[..., 0]), samples[..., 0], 16, GREY)


@pytest.mark.parametrize("shape", SHAPES)
def test_other_files_without_loss(read, shape):
    colours = NOISE.integers(0, 256, (*shape, 4)).astype(np.uint8)
    for form, options in (
        *(("TIFF", {"compression": c}) for c in (None, "tiff_lzw", "tiff_deflate", "packbits")),
        ("BMP", {}),
        ("WEBP", {"lossless": True, "exact": True}),
    ):
        rgb = encoded(colours[..., :3], form, **options)
        np.testing.assert_array_equal(read(rgb), colours[..., :3])
        np.testing.assert_array_equal(read(encoded(colours, form, **options)), colours[..., :3])
        level = encoded(colours[..., 0], form, **options)
        np.testing.assert_array_equal(read(level), grey(colours[..., 0]))
    dots = colours[..., 0] > 100
    for form in ("TIFF", "BMP", "GIF"):
        np.testing.assert_array_equal(read(encoded(dots, form)), grey(dots * 255))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_of_16_bits(read, channels):
    samples = NOISE.integers(0, 65536, (7, 11, channels)).astype(np.uint16)
    stored = samples[..., 0] if channels == 1 else samples.copy()
    if channels > 1:
        stored[..., :3] = samples[..., 2::-1]  # OpenCV writes B, G, R
    content = cv2.imencode(".tiff", stored)[1].tobytes()
    expected = grey(samples[..., 0]) if channels == 1 else samples[..., :3]
    np.testing.assert_array_equal(read(content), expected >> 8)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_tiff_of_32_bits_is_refused(read, dtype):
    with pytest.raises(InputError, match=r"image.png is a TIFF with 32 bits .*: save it as PNG"):
        read(encoded(np.ones((3, 4), dtype), "TIFF"))


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        *(("L", {}), ("CMYK", {}), ("RGB", {}), ("RGB", {"progressive": True})),
        ("RGB", {"restart_marker_rows": 1}),
    ],
)
def test_jpeg_and_what_follows_its_end(read, mode, options):
    """A motion photo's video: any bytes, those of a JPEG's scan and of a whole JPEG among them."""
    blocks = NOISE.integers(0, 256, (4, 5, 4)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    channels = [Image.fromarray(blocks[..., k]) for k in range(len(mode))]
    picture = Image.merge(mode, channels)
    if mode == "RGB":
        options = {**options, "subsampling": 0}
    content = encoded(picture, "JPEG", quality=100, **options)
    expected = np.asarray(picture.convert("RGB")).astype(int)
    video = b"\0\0\0\x18ftypmp42" + NOISE.bytes(500) + b"\xff\xda\0\0"
    for whole in (content, content + video, content + content + video, content + b"\0" * 99):
        assert np.abs(read(whole) - expected).max() <= 8
    for kept in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(InputError, match=r"cannot be decoded"):
            read(content[: int(kept * len(content))])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(np.zeros((9, 9, 3), np.uint8), "TIFF")[:-20], "its end is missing"),
        (encoded(np.zeros((9, 9, 3), np.uint8), "BMP")[:-20], "truncated"),
        (encoded(np.eye(90) > 0, "GIF")[:-90], r"\w"),
        (encoded(NOISE.integers(0, 256, (9, 9, 3)).astype(np.uint8), "WEBP")[:-20], r"\w"),
        (b"", "it is empty"),
        (b"\0" * 400, "no picture"),
        (encoded(np.zeros((9, 9, 3), np.uint8), "AVIF"), "is of format AVIF, which is not read"),
        (b"\0\0\0\x20ftypavis" + bytes(99), "is of format AVIF, which is not read"),
        (b"\0\0\0\x20ftypmif1" + bytes(99), "is of format HEIC, which is not read"),
        (b"P6 1 1 255 \0\0\0", "is of format PNM, which is not read: save it as PNG"),
    ],
)
def test_what_cannot_be_read_is_one_line(read, content, reason):
    with pytest.raises(InputError, match=rf"image.png .*{reason}") as error:
        read(content)
    assert "\n" not in str(error.value)


# depth of 16-bit files


@pytest.mark.parametrize("depth", [8, 10, 12, 14, 16])
def test_the_upper_8_bits_of_the_depth_are_kept(read, depth):
    samples = NOISE.integers(0, 2**depth, (7, 11, 3))
    np.testing.assert_array_equal(read(png(samples, 16, RGB), depth), samples >> (depth - 8))
    assert (read(png([[(1 << depth) - 1]], 16), depth) == 255).all()


def test_more_than_the_depth_holds_is_no_white(read):
    with pytest.raises(
        InputError, match=r"holds the value 4096, more than the 12 bits .*BIT_DEPTH"
    ):
        read(png([[3, 4096]], 16), 12)


def test_files_of_8_bits_have_no_depth(read):
    assert read(png([[200]]), 10).tolist() == [[[200] * 3]]


# orientation

UPRIGHT = np.arange(2 * 3 * 3).reshape(2, 3, 3)
# how a camera stores the picture above, by the words of the standard: what the first row and the
# first column of the file are
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.swapaxes(0, 1),  # left, top
    6: UPRIGHT[:, ::-1].swapaxes(0, 1),  # right, top
    7: UPRIGHT[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: UPRIGHT[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("orientation", range(10))
def test_pictures_are_read_upright(read, orientation):
    stored = np.ascontiguousarray(STORED.get(orientation, UPRIGHT)).astype(np.uint8)
    tag = Image.Exif()
    tag[274] = orientation
    eight = {
        "JPEG": encoded(stored.repeat(8, 0).repeat(8, 1), "JPEG", exif=tag, quality=100),
        "WEBP": encoded(stored, "WEBP", exif=tag, lossless=True),
        "PNG": encoded(stored, "PNG", exif=tag),
        "before": png(stored, 8, RGB, before=chunk(b"eXIf", exif(orientation))),
        "after": png(stored, 8, RGB, after=chunk(b"eXIf", exif(orientation))),
        "TIFF": encoded(stored, "TIFF", tiffinfo={274: orientation}),
    }
    for form, content in eight.items():
        image = read(content)
        if form == "JPEG":
            assert np.abs(image[::8, ::8].astype(int) - UPRIGHT).max() < 4
        else:
            np.testing.assert_array_equal(image, UPRIGHT, err_msg=form)
    deep = stored.astype(np.uint16) << 8
    content = png(deep, 16, RGB, before=chunk(b"eXIf", exif(orientation)))
    np.testing.assert_array_equal(read(content), UPRIGHT)
    levels = encoded(deep[..., 0], "TIFF", tiffinfo={274: orientation})
    np.testing.assert_array_equal(read(levels), grey(UPRIGHT[..., 0]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1)])
def test_turned_lines_can_be_given_to_torch(read, orientation, shape):
    content = png(np.ones((*shape, 3)), 8, RGB, before=chunk(b"eXIf", exif(orientation)))
    assert torch.from_numpy(read(content)).shape[:2] in (shape, shape[::-1])


def test_bytes_of_pixels_are_no_orientation(read):
    """The name of the chunk by chance among the pixels of the last lines."""
    image = NOISE.integers(0, 256, (4, 60, 3)).astype(np.uint8)
    row = image[3].reshape(-1)
    row[:40] = np.frombuffer(b"\0\0\0\x1aeXIf" + exif(6) + b"\0\0\0\0\0\0", np.uint8)[:40]
    content = encoded(image, "PNG", compress_level=0)
    assert b"eXIf" in content
    np.testing.assert_array_equal(read(content), image)
