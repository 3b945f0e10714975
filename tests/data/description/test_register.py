"""From folders to registered data sets: each form of labels gives the same train ids."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image
from pycocotools import mask as coco_mask

from copt_d2.data import register_description
from copt_d2.data.reading import read_train_ids
from copt_d2.errors import InputError

COLORS = ((10, 20, 30), (40, 50, 60), (70, 80, 90))
CLASSES = "classes: [{name: floor, color: [10, 20, 30]}, {name: box, color: [40, 50, 60]}, "
CLASSES += "{name: person, color: [70, 80, 90], thing: true}]\n"
NAMES = ("a", "deep/b c", "ü")


def labels_of(number):
    """(20, 30) uint8 train ids, without ignored pixels."""
    labels = np.zeros((20, 30), np.uint8)
    labels[2 + number : 9, 3:11] = 1
    labels[5:15, 8 : 20 + number] = 2
    return labels


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with images, to which a test adds labels."""
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cache"))
    for number, name in enumerate(NAMES):
        for folder in ("images", "camera"):
            file = tmp_path / folder / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(file)
    return tmp_path


def save(folder, convert, ending=".png", **options):
    for number, name in enumerate(NAMES):
        file = folder / f"{name}{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        convert(labels_of(number)).save(file, **options)


def describe(place, source, classes=CLASSES, more=""):
    path = place / "warehouse.yaml"
    text = f"{classes}source: {{images: images, {source}}}\ntarget: {{images: camera}}\n{more}"
    path.write_text(text)
    return path


def train_ids(name):
    table = np.array(MetadataCatalog.get(name).label_table, np.uint8)
    return [read_train_ids(e["sem_seg_file_name"], table) for e in DatasetCatalog.get(name)]


def assert_right(name="warehouse_source"):
    found = train_ids(name)
    assert len(found) == len(NAMES)
    for number, labels in enumerate(found):
        np.testing.assert_array_equal(labels, labels_of(number))


def small_png(labels, bits):
    image = Image.fromarray(labels)
    image.putpalette(list(range(2**bits)) * 3)  # whatever its colours are
    return image


@pytest.mark.parametrize(
    ("convert", "options", "kept"),
    [
        (Image.fromarray, {}, True),
        (lambda a: small_png(a, 8), {"bits": 8}, True),
        (lambda a: small_png(a, 2), {"bits": 2}, False),
        (lambda a: small_png(a, 4), {"bits": 4}, False),
        (lambda a: Image.fromarray(a.astype(np.uint16)), {}, False),
        (lambda a: Image.fromarray(np.repeat(a[..., None], 3, axis=2)), {}, False),
        (lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]), {}, False),
    ],
    ids=["8 bits", "palette", "2 bits", "4 bits", "16 bits", "grey as RGB", "colors"],
)
def test_masks(place, convert, options, kept):
    save(place / "masks", convert, **options)
    names = register_description(describe(place, "masks: masks"))
    assert names == {"source": "warehouse_source", "target": "warehouse_target"}
    assert_right()
    files = [entry["sem_seg_file_name"] for entry in DatasetCatalog.get("warehouse_source")]
    assert all(file.startswith(str(place / ("masks" if kept else "cache"))) for file in files)
    metadata = MetadataCatalog.get("warehouse_source")
    assert metadata.stuff_classes == ["floor", "box", "person"]
    assert metadata.thing_train_ids == [2]
    assert tuple(map(tuple, metadata.stuff_colors)) == COLORS
    target = DatasetCatalog.get("warehouse_target")
    assert [entry["image_id"] for entry in target] == list(NAMES)
    assert "sem_seg_file_name" not in target[0]


def coco_file(encode):
    images, annotations = [], []
    for number, name in enumerate(NAMES):
        images.append({"id": number, "file_name": f"{name}.png", "height": 20, "width": 30})
        labels = labels_of(number)
        for k in range(3):
            entry = {"category_id": k + 5, "image_id": number, "id": len(annotations), "iscrowd": 0}
            region = np.asfortranarray(labels == k, np.uint8)
            annotations.append({**entry, "area": int(region.sum()), **encode(region)})
    names = ("floor", "Box", "human")
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k + 5, "name": name} for k, name in enumerate(names)],
    }


def as_rle(region):
    rle = coco_mask.encode(region)
    return {"segmentation": {"size": list(region.shape), "counts": rle["counts"].decode()}}


def test_coco(place):
    (place / "c.json").write_text(json.dumps(coco_file(as_rle)))
    register_description(describe(place, "coco: c.json, categories: {human: person}"))
    assert_right()


def test_polygons_agree_nearly(place):
    def polygons(region):
        contours = cv2.findContours(region, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        # pycocotools takes a polygon's points as corners between pixels
        return {"segmentation": [(c.ravel() + 0.5).tolist() for c in contours if len(c) > 2]}

    (place / "c.json").write_text(json.dumps(coco_file(polygons)))
    register_description(describe(place, "coco: c.json, categories: {human: person}"))
    for number, labels in enumerate(train_ids("warehouse_source")):
        assert (labels == labels_of(number)).mean() > 0.85  # tiny shapes: all is border


def test_panoptic(place):
    def segments(labels):  # of each class one, number 1000 k + 7
        ids = labels.astype(np.uint32) * 1000 + 7
        return Image.fromarray(np.stack([ids % 256, ids // 256, ids * 0], 2).astype(np.uint8))

    save(place / "segments", segments)
    info = [{"id": 1000 * k + 7, "category_id": k} for k in range(3)]
    annotations = [
        {"file_name": f"{os.path.basename(name)}.png", "segments_info": info} for name in NAMES
    ]
    categories = [{"id": k, "name": name} for k, name in enumerate(("floor", "box", "person"))]
    content = {"categories": categories, "annotations": annotations}
    (place / "p.json").write_text(json.dumps(content))
    register_description(describe(place, "panoptic: {json: p.json, masks: segments}"))
    assert_right()


def test_labelme(place):
    class Shapes:
        def __init__(self, labels):
            self.labels = labels

        def save(self, file):
            shapes = []
            for k, name in enumerate(("floor", "box", "person")):
                png = cv2.imencode(".png", (self.labels == k).astype(np.uint8))[1]
                mask = __import__("base64").b64encode(png).decode()
                points = [[0, 0], [29, 19]]
                shapes.append({"label": name, "shape_type": "mask", "points": points, "mask": mask})
            content = {"imageHeight": 20, "imageWidth": 30, "shapes": shapes}
            file.write_text(json.dumps(content))

    save(place / "jsons", Shapes, ".json")
    register_description(describe(place, "labelme: jsons"))
    assert_right()


def test_greys_that_are_colors(place):
    save(place / "masks", lambda a: Image.fromarray(np.repeat(a[..., None] * 100, 3, axis=2)))
    classes = "classes: [{name: floor, color: [0, 0, 0]}, {name: box, color: [100, 100, 100]}, "
    classes += "{name: person, color: [200, 200, 200]}]\n"
    register_description(describe(place, "masks: masks", classes))
    assert_right()


def test_ids_of_another_set(place):
    save(place / "masks", lambda a: Image.fromarray(a + 7))
    source = "masks: masks, ids: {7: floor, 9: person}"
    register_description(describe(place, source))
    for number, labels in enumerate(train_ids("warehouse_source")):
        expected = labels_of(number)
        expected[expected == 1] = 255
        np.testing.assert_array_equal(labels, expected)


def test_a_list_is_several_data_sets_and_their_union(place):
    save(place / "masks", Image.fromarray)
    save(place / "colored", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]))
    text = f"{CLASSES}source: [{{images: images, masks: masks, weight: 2}}, "
    text += "{images: images, masks: colored}]\ntarget: {images: camera}\n"
    path = place / "warehouse.yaml"
    path.write_text(text)
    assert register_description(path)["source"] == "warehouse_source"
    assert_right("warehouse_source_1")
    assert_right("warehouse_source_2")
    assert MetadataCatalog.get("warehouse_source_1").weight == 2
    union = DatasetCatalog.get("warehouse_source")
    assert [e["dataset"][-1] for e in union] == ["1"] * 3 + ["2"] * 3


def write_list(place, first, second):
    path = place / "warehouse.yaml"
    text = f"{CLASSES}source: [{{images: images, masks: masks, ids: {first}}}, "
    path.write_text(
        f"{text}{{images: images, masks: turned, ids: {second}}}]\ntarget: {{images: camera}}\n"
    )
    save(place / "masks", Image.fromarray)
    save(place / "turned", lambda a: Image.fromarray(2 - a))
    return path


def test_the_union_of_masks_whose_ids_mean_different_classes(place):
    forth, back = "{0: floor, 1: box, 2: person}", "{2: floor, 1: box, 0: person}"
    names = register_description(write_list(place, forth, back))
    found = [*train_ids(f"{names['source']}_1"), *train_ids(f"{names['source']}_2")]
    for number, (one, of_union) in enumerate(zip(found, train_ids(names["source"]), strict=True)):
        np.testing.assert_array_equal(one, labels_of(number % 3))
        np.testing.assert_array_equal(of_union, labels_of(number % 3))


def test_the_union_of_masks_of_the_same_ids_reads_them_as_they_are(place):
    ids = "{0: person, 1: box, 2: floor}"
    names = register_description(write_list(place, ids, ids))
    one, union = (list(train_ids(f"{names['source']}{part}")) for part in ("_1", ""))
    for number in range(3):
        np.testing.assert_array_equal(one[number], 2 - labels_of(number))
        np.testing.assert_array_equal(union[number], 2 - labels_of(number))
    assert DatasetCatalog.get("warehouse_source")[0]["sem_seg_file_name"].endswith("masks/a.png")


def test_labels_are_made_once_for_their_content(place, monkeypatch):
    save(place / "masks", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]))
    register_description(describe(place, "masks: masks"))
    cached = sorted((place / "cache" / "descriptions" / "labels").rglob("*.png"))
    assert len(cached) == len(NAMES)
    times = [file.stat().st_mtime_ns for file in cached]
    shutil.copytree(place / "masks", place / "moved")
    register_description(describe(place, "masks: moved"))
    assert [file.stat().st_mtime_ns for file in cached] == times
    assert sorted((place / "cache" / "descriptions" / "labels").rglob("*.png")) == cached
    changed = np.array(COLORS, np.uint8)[np.zeros((20, 30), np.uint8)]
    Image.fromarray(changed).save(place / "moved" / "a.png")
    register_description(describe(place, "masks: moved"))
    assert not train_ids("warehouse_source")[0].any()


def line(place, source, **options):
    with pytest.raises(InputError) as caught:
        register_description(describe(place, source, **options))
    message = str(caught.value)
    assert "\n" not in message
    assert "warehouse.yaml: source" in message
    return message


def test_values_of_no_class(place):
    save(place / "masks", lambda a: Image.fromarray(a.astype(np.uint16) * 300))
    for _ in range(2):  # nothing is kept that would hide them the next time
        message = line(place, "masks: masks", classes="classes: [floor, box, person]\n")
        assert "hold values of no class: 600 (" in message
        assert "300 (" in message
        assert "masks/a.png" in message
    save(place / "masks", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a] + 1))
    assert "[71, 81, 91] (" in line(place, "masks: masks")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("masks: none", "none does not exist"),
        ("masks: empty", "holds no file that ends in"),
        ("masks: other", "no mask belongs to an image"),
        ("masks: part", "2 images without a label, such as"),
        ("masks: mixed", "holds one value a pixel and"),
        ("masks: gray, format: colors", "[0, 0, 0] ("),
    ],
)
def test_mistakes(place, source, said):
    (place / "empty").mkdir()
    for folder, name in (("other", "x"), ("part", "a")):
        (place / folder).mkdir()
        Image.fromarray(labels_of(0)).save(place / folder / f"{name}.png")
    save(place / "mixed", Image.fromarray)
    save(place / "gray", Image.fromarray)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(place / "mixed" / "a.png")
    assert said in line(place, source)


def test_a_class_without_colour(place):
    save(place / "masks", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]))
    classes = "classes: [{name: floor, color: [10, 20, 30]}, box, person]\n"
    assert "the class 'box' has no color" in line(place, "masks: masks", classes=classes)


def test_missing_labels_are_left_out(place):
    save(place / "masks", Image.fromarray)
    (place / "masks" / "a.png").unlink()
    register_description(describe(place, "masks: masks, missing: skip"))
    ids = [entry["image_id"] for entry in DatasetCatalog.get("warehouse_source")]
    assert ids == list(NAMES[1:])


def test_a_cache_that_cannot_be_written(place, monkeypatch):
    save(place / "masks", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]))
    (place / "file").touch()
    monkeypatch.setenv("COPT_D2_CACHE", str(place / "file"))
    assert "cannot be written" in line(place, "masks: masks")


def test_a_disk_without_room(place, monkeypatch):
    save(place / "masks", lambda a: Image.fromarray(np.array(COLORS, np.uint8)[a]))
    usage = shutil.disk_usage(place)._replace(free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr("copt_d2.data.description.convert._FIRST", 1)
    assert "MiB are free" in line(place, "masks: masks")
