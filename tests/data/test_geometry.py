import cv2
import numpy as np
import pytest

from copt_d2.data.geometry import CropRule, Geometry, draw_crop, resized_size


@pytest.mark.parametrize(
    ("stored", "box", "expected"),
    [
        ((1052, 1914), (2560, 1440), (1407, 2560)),  # GTA, datasets.md §3
        ((1052, 1914), (1280, 720), (704, 1280)),
        ((760, 1280), (2560, 1520), (1520, 2560)),
        ((1024, 2048), (1024, 512), (512, 1024)),
        ((1024, 2048), (), (1024, 2048)),
        (
            (2048, 1024),
            (1024, 512),
            (1024, 512),
        ),  # upright: the longer side of the box is its height
    ],
)
def test_resized_size(stored, box, expected):
    assert resized_size(stored, box) == expected


def test_resized_size_scales_the_box():
    # 360x480 into 320x240: factor 2/3, times 0.75 = 1/2
    assert resized_size((360, 480), (320, 240), 0.75) == (180, 240)
    assert resized_size((3, 5), (), 0.01) == (1, 1)


def whole(stored, resized, flip=False):
    return Geometry(stored, resized, (0, resized[0], 0, resized[1]), flip)


@pytest.mark.parametrize("resized", [(17, 31), (40, 23), (61, 97), (5, 4)])
def test_labels_follow_opencvs_nearest(resized):
    labels = np.random.default_rng(1).integers(0, 19, (29, 43), dtype=np.uint8)
    rows = [int(i * 29 / resized[0] + 1e-9) for i in range(resized[0])]
    columns = [int(i * 43 / resized[1] + 1e-9) for i in range(resized[1])]
    got = whole((29, 43), resized).apply_to_labels(labels)
    assert (got == cv2.resize(labels, resized[::-1], interpolation=cv2.INTER_NEAREST)).all()
    # the same by the formula floor(i * size / size'), computed apart
    assert (got == labels[np.ix_(rows, columns)]).all()


def test_labels_equal_opencv_for_many_widths():
    rng = np.random.default_rng(2)
    for _ in range(200):
        stored, resized = (int(v) for v in rng.integers(1, 700, 2))
        row = np.arange(stored, dtype=np.uint16)[None]
        expected = cv2.resize(row, (resized, 1), interpolation=cv2.INTER_NEAREST)[0]
        assert (whole((1, stored), (1, resized)).source_columns() == expected).all()


def test_image_is_bilinear_with_half_pixel_centres():
    image = np.random.default_rng(3).integers(0, 256, (11, 14, 3), dtype=np.uint8)
    got = whole((11, 14), (17, 9)).apply_to_image(image)
    y = np.clip((np.arange(17) + 0.5) * 11 / 17 - 0.5, 0, 10)
    x = np.clip((np.arange(9) + 0.5) * 14 / 9 - 0.5, 0, 13)
    y0, x0 = np.minimum(y.astype(int), 9), np.minimum(x.astype(int), 12)
    fy, fx = (y - y0)[:, None, None], (x - x0)[None, :, None]
    top = image[y0][:, x0] * (1 - fx) + image[y0][:, x0 + 1] * fx
    bottom = image[y0 + 1][:, x0] * (1 - fx) + image[y0 + 1][:, x0 + 1] * fx
    # OpenCV rounds in each direction; other rules (no half pixel, antialias) are off by dozens
    assert np.abs(got - (top * (1 - fy) + bottom * fy)).max() < 1


def test_crop_and_flip_act_alike_on_image_and_labels():
    labels = np.random.default_rng(4).integers(0, 200, (21, 33), dtype=np.uint8)
    image = np.repeat(labels[..., None], 3, axis=2)
    geometry = Geometry((21, 33), (21, 33), (5, 16, 7, 30), flip=True)
    expected = labels[5:16, 7:30][:, ::-1]
    assert (geometry.apply_to_labels(labels) == expected).all()
    assert (geometry.apply_to_image(image) == expected[..., None]).all()


def test_crop_of_a_resized_map_equals_the_resized_map_cropped():
    labels = np.random.default_rng(5).integers(0, 200, (29, 43), dtype=np.uint8)
    geometry = Geometry((29, 43), (50, 61), (13, 40, 20, 57), flip=True)
    resized = cv2.resize(labels, (61, 50), interpolation=cv2.INTER_NEAREST)
    crop = geometry.apply_to_labels(labels)
    assert (crop == resized[13:40, 20:57][:, ::-1]).all()
    assert crop.flags["C_CONTIGUOUS"]


def test_crops_reach_every_position():
    rng = np.random.default_rng(6)
    boxes = [draw_crop(rng, (6, 9), (4, 7)) for _ in range(400)]
    assert {box[0] for box in boxes} == {0, 1, 2}
    assert {box[2] for box in boxes} == {0, 1, 2}
    assert {(y2 - y1, x2 - x1) for y1, y2, x1, x2 in boxes} == {(4, 7)}


def test_smaller_image_is_taken_whole():
    assert draw_crop(np.random.default_rng(0), (3, 5), (4, 4))[:2] == (0, 3)


def test_scale_is_drawn_within_its_range():
    rule = CropRule(resize=(480, 360), scale_range=(0.5, 2.0), crop=None, flip=False)
    rng = np.random.default_rng(7)
    heights = np.array([rule.draw_size(rng, (720, 960))[0] for _ in range(300)])
    assert 180 <= heights.min() < 200
    assert 700 < heights.max() <= 720
    assert abs(heights.mean() - 450) < 30  # uniform in the factor
