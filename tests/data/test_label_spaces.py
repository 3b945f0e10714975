import pytest

from copt_d2.data.label_spaces import CAMVID, CITYSCAPES, CITYSCAPES_IDS


@pytest.mark.parametrize("space", [CITYSCAPES, CAMVID])
def test_parts_of_a_space_fit_together(space):
    num_classes = len(space.classes)
    assert len(set(space.classes)) == num_classes
    assert len(set(space.palette)) == len(space.palette) == num_classes
    assert set(space.things) < set(range(num_classes))
    assert len(space.table) == 256
    assert set(space.table) == {*range(num_classes), 255}


def test_cityscapes_ids():
    # id -> train id, from the data set's documentation
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9}
    expected |= {23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert {i: t for i, t in enumerate(CITYSCAPES.table) if t != 255} == expected
    assert {label_id: t for t, label_id in enumerate(CITYSCAPES_IDS)} == expected


def test_cityscapes_names_and_colours():
    colors = dict(zip(CITYSCAPES.classes, CITYSCAPES.palette, strict=True))
    assert colors["road"] == (128, 64, 128)
    assert colors["traffic light"] == (250, 170, 30)
    assert colors["bicycle"] == (119, 11, 32)
    things = ["traffic light", "traffic sign", "person", "rider", "car", "truck", "bus", "train"]
    things += ["motorcycle", "bicycle"]
    assert [CITYSCAPES.classes[i] for i in CITYSCAPES.things] == things


def test_camvid_order_and_void():
    assert CAMVID.classes[:4] == ("sky", "building", "pole", "road")
    assert CAMVID.classes[4:7] == ("pavement", "tree", "sign symbol")
    assert CAMVID.classes[7:] == ("fence", "car", "pedestrian", "bicyclist")
    assert CAMVID.table[:12] == (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255)
    assert [CAMVID.classes[i] for i in CAMVID.things] == [
        "sign symbol",
        "car",
        "pedestrian",
        "bicyclist",
    ]
