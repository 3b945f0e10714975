"""COCO, panoptic and LabelMe files -> train ids."""

import base64
import json
import logging

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from copt_d2.data.description.categories import Categories
from copt_d2.data.description.coco import paint_coco, paint_panoptic, read_coco, read_panoptic
from copt_d2.data.description.labelme import paint_labelme
from copt_d2.data.description.schema import ClassEntry
from copt_d2.errors import InputError

CLASSES = (
    ClassEntry("floor", ("floor",), None, False, (0,)),
    ClassEntry("person", ("person", "worker"), None, True, (1,)),
)
BOX = [1, 1, 5, 1, 5, 4, 1, 4]  # x, y in turns: columns 1..4, rows 1..3


@pytest.fixture
def categories():
    return Categories.of(CLASSES, {"ground": "floor"})


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def coco(annotations, **more):
    return {
        "images": [{"id": 7, "file_name": "a.png", "height": 6, "width": 8}],
        "categories": [{"id": n, "name": name} for n, name in enumerate(("Ground", "worker", "x"))],
        "annotations": [
            {"id": n, "image_id": 7, "iscrowd": 0, **entry} for n, entry in enumerate(annotations)
        ],
        **more,
    }


def whole_rle():
    return {"size": [6, 8], "counts": [0, 48]}


def test_smaller_objects_lie_over_larger_ones(tmp_path, categories):
    person = {"category_id": 1, "segmentation": [BOX], "area": 12}
    ground = {"category_id": 0, "segmentation": whole_rle(), "area": 48}
    (image,) = read_coco(write(tmp_path / "c.json", coco([person, ground])), categories)
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 1:5] = 1
    np.testing.assert_array_equal(paint_coco(image, "c.json"), expected)


@pytest.mark.parametrize("compressed", [False, True])
def test_run_lengths(tmp_path, categories, compressed):
    region = np.random.default_rng(0).integers(0, 2, (6, 8)).astype(np.uint8)
    rle = coco_mask.encode(np.asfortranarray(region))
    if compressed:
        rle["counts"] = rle["counts"].decode()
    else:  # numbers of zeros and ones in turns, column by column
        flat = region.T.ravel()
        changes = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *changes, 48]).tolist()
        rle = {"size": [6, 8], "counts": counts if flat[0] == 0 else [0, *counts]}
    entry = {"category_id": 1, "segmentation": rle, "area": 5}
    (image,) = read_coco(write(tmp_path / "c.json", coco([entry])), categories)
    np.testing.assert_array_equal(paint_coco(image, ""), np.where(region, 1, 255))
    np.testing.assert_array_equal(paint_coco(image, "", 0), region)


def test_crowds_are_ignored_below_single_objects(tmp_path, categories):
    crowd = {"category_id": 1, "segmentation": whole_rle(), "area": 1, "iscrowd": 1}
    person = {"category_id": 1, "segmentation": [BOX], "area": 12}
    (image,) = read_coco(write(tmp_path / "c.json", coco([person, crowd])), categories)
    labels = paint_coco(image, "", 0)
    assert (labels[1:4, 1:5] == 1).all()
    assert (labels == 255).sum() == 48 - 12


def test_what_maps_nowhere_is_counted(tmp_path, categories, caplog):
    entries = [{"category_id": k, "segmentation": [BOX]} for k in (1, 2, 2)]
    read_coco(write(tmp_path / "c.json", coco(entries)), categories)
    with caplog.at_level(logging.WARNING, "copt_d2.data"):
        categories.report("source")
    assert "objects of no class are ignored: 'x' (2)" in caplog.text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "is no COCO file"),
        ({"images": []}, "is no COCO file"),
        (coco([{"category_id": 9, "segmentation": []}]), "is no COCO file"),
        (coco([{"category_id": 1, "image_id": 8, "segmentation": []}]), "is no COCO file"),
        (coco([]), "holds no object of a class; it has Ground, worker, x"),
        (coco([{"category_id": 2, "segmentation": []}]), "holds no object of a class"),
        (
            coco([{"category_id": 1, "segmentation": whole_rle(), "iscrowd": 1}]),
            "holds only crowd regions",
        ),
    ],
)
def test_no_coco(tmp_path, categories, content, said):
    with pytest.raises(InputError, match=said):
        read_coco(write(tmp_path / "c.json", content), categories)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100000])
def test_no_json(tmp_path, categories, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"c\.json is no JSON"):
        read_coco(path, categories)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [3, 3], "counts": [0, 9]},
        {"size": [6, 8], "counts": "?"},
        {"size": [6, 8]},
        [[1, 2]],
        "BOX",
        None,
    ],
)
def test_regions_that_cannot_be_drawn(tmp_path, categories, segmentation):
    entry = {"category_id": 1, "segmentation": segmentation}
    (image,) = read_coco(write(tmp_path / "c.json", coco([entry])), categories)
    with pytest.raises(InputError, match=r"annotation 0 of a\.png cannot be drawn"):
        paint_coco(image, "c.json")


# panoptic


def panoptic(segments):
    return {
        "categories": [{"id": 0, "name": "floor"}, {"id": 1, "name": "x"}],
        "annotations": [{"file_name": "a.png", "segments_info": segments}],
    }


def test_segments(tmp_path, categories):
    segments = [
        {"id": 5, "category_id": 0},
        {"id": 300, "category_id": 1},
        {"id": 70000, "category_id": 0, "iscrowd": 1},
    ]
    tables = read_panoptic(write(tmp_path / "p.json", panoptic(segments)), categories)
    assert tables == {"a.png": {5: 0, 300: 255, 70000: 255}}
    colors = np.zeros((2, 4, 3), np.uint8)
    colors[0, 0] = (5, 0, 0)
    colors[0, 1] = (300 % 256, 1, 0)
    colors[1, 2] = (70000 % 256, 70000 // 256 % 256, 1)
    labels = paint_panoptic(colors, tables["a.png"], "a.png")
    expected = np.full((2, 4), 255)
    expected[0, 0] = 0
    np.testing.assert_array_equal(labels, expected)
    with pytest.raises(InputError, match="holds 1 segments that the JSON does not name, first 5"):
        paint_panoptic(colors, {300: 0, 70000: 0}, "a.png")


@pytest.mark.parametrize("content", [[], {}, panoptic([{"id": 5}]), panoptic([])])
def test_no_panoptic(tmp_path, categories, content):
    with pytest.raises(InputError, match=r"p\.json (is no COCO panoptic|holds no segment)"):
        read_panoptic(write(tmp_path / "p.json", content), categories)


# LabelMe


def labelme(*shapes):
    return {"imageHeight": 6, "imageWidth": 8, "shapes": list(shapes)}


def test_shapes(tmp_path, categories):
    region = np.array([[1, 0], [1, 1]], np.uint8)
    mask = base64.b64encode(cv2.imencode(".png", region)[1]).decode()
    shapes = [
        {"label": "ground", "shape_type": "rectangle", "points": [[0, 0], [7, 5]]},
        {"label": "person", "points": [[1, 1], [4, 1], [4, 3], [1, 3]]},
        {"label": "dog", "points": [[0, 0], [7, 0], [7, 5]]},
        {"label": "worker", "shape_type": "mask", "points": [[6, 4], [7, 5]], "mask": mask},
        {"label": "person", "shape_type": "point", "points": [[0, 0]]},
    ]
    labels = paint_labelme(write(tmp_path / "a.json", labelme(*shapes)), categories)
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 1:5] = 1
    expected[4:6, 6:8][region > 0] = 1
    np.testing.assert_array_equal(labels, expected)
    assert categories.left_out == {"dog": 1}


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        labelme({"points": []}),
        labelme({"label": "floor", "points": "x"}),
        labelme({"label": "floor", "shape_type": "mask", "points": [[0, 0]], "mask": "AAAA"}),
        labelme({"label": "floor", "shape_type": "rectangle", "points": [[0, 0]]}),
    ],
)
def test_no_labelme(tmp_path, categories, content):
    with pytest.raises(InputError, match=r"a\.json is no LabelMe file"):
        paint_labelme(write(tmp_path / "a.json", content), categories)
