import numpy as np
import pytest

from copt_d2.evaluation.pictures import LEGEND_WIDTH, LINE, colour_map, legend, prediction_sheet

PALETTE = [(128, 64, 128), (0, 0, 142), (70, 130, 180)]
NAMES = ["road", "car", "sky"]


def test_colour_map():
    labels = np.array([[0, 1], [2, 255], [3, 0]], dtype=np.uint8)
    colours = colour_map(labels, PALETTE)
    assert colours.dtype == np.uint8
    expected = [[PALETTE[0], PALETTE[1]], [PALETTE[2], (0, 0, 0)], [(0, 0, 0), PALETTE[0]]]
    assert colours.tolist() == [[list(c) for c in row] for row in expected]


def test_legend_shows_every_colour():
    picture = legend(10, NAMES, PALETTE)
    assert picture.shape == (LINE * 5, LEGEND_WIDTH, 3)  # three classes, ignored, a margin
    assert legend(200, NAMES, PALETTE).shape == (200, LEGEND_WIDTH, 3)
    for row, colour in enumerate([*PALETTE, (0, 0, 0)]):
        assert tuple(picture[row * LINE + 12, 15]) == colour


def test_sheet_of_two_scenes():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (30, 45, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (30, 45)).astype(np.uint8)
    labels[:3] = 255
    sheet = prediction_sheet(
        [(image, labels), (image, labels)], ["image", "labels"], NAMES, PALETTE, width=90
    )
    assert sheet.dtype == np.uint8
    assert sheet.shape == (24 + 2 * 60, 2 * 90 + LEGEND_WIDTH, 3)  # 90 wide: twice as large
    # label maps are enlarged without blending: each pixel becomes a 2x2 block of its exact colour
    expected = colour_map(labels, PALETTE).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(sheet[24:84, 90:180], expected)
    np.testing.assert_array_equal(sheet[84:144, 90:180], expected)
    np.testing.assert_array_equal(sheet[24:84, :90], sheet[84:144, :90])
    assert abs(sheet[24:84, :90].mean() - image.mean()) < 3


def test_an_image_at_its_own_width_is_unchanged():
    image = np.random.default_rng(1).integers(0, 256, (140, 90, 3), dtype=np.uint8)
    sheet = prediction_sheet([(image,)], ["image"], NAMES, PALETTE, width=90)
    np.testing.assert_array_equal(sheet[24:164, :90], image)


def test_a_low_sheet_is_filled_up_to_the_legend():
    labels = np.zeros((10, 90), dtype=np.uint8)
    sheet = prediction_sheet([(labels,)], ["labels"], NAMES, PALETTE, width=90)
    assert sheet.shape[0] == LINE * 5
    assert (sheet[34:, :90] == 255).all()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1), (90, 90)),
        ((1, 2000), (1, 90)),  # as high as a pixel at least
        ((2000, 1), (270, 1)),  # no higher than three widths
        ((540, 90), (270, 45)),
        ((2, 60000), (1, 90)),
        ((270, 90), (270, 90)),
    ],
)
def test_pictures_of_any_shape(shape, size):
    labels = np.ones(shape, dtype=np.uint8)
    image = np.full((*shape, 3), 7, dtype=np.uint8)
    sheet = prediction_sheet([(image, labels)], ["image", "labels"], NAMES, PALETTE, width=90)
    height, width = size
    assert sheet.shape == (max(24 + height, LINE * 5), 2 * 90 + LEGEND_WIDTH, 3)
    row = sheet[24 : 24 + height]
    assert (row[:, :width] == 7).all()
    assert (row[:, 90 : 90 + width] == PALETTE[1]).all()
    assert (row[:, width:90] == 255).all()
