import pytest

from copt_d2.data.label_spaces import (
    CAMVID,
    CITYSCAPES,
    CITYSCAPES_13,
    CITYSCAPES_16,
    CITYSCAPES_AS_CAMVID,
    CITYSCAPES_IDS,
    CITYSCAPES_TRAIN_IDS,
    SYNTHIA,
    SYNTHIA_IDS,
    id_table,
)


def counted(space):
    """Stored value -> train id, without the ignored and the unknown values."""
    return {value: t for value, t in enumerate(space.table) if t < 254}


def unknown(space):
    return [value for value, t in enumerate(space.table) if t == 254]


@pytest.mark.parametrize(
    "space", [CITYSCAPES, CITYSCAPES_TRAIN_IDS, SYNTHIA, CAMVID, CITYSCAPES_AS_CAMVID]
)
def test_parts_of_a_space_fit_together(space):
    num_classes = len(space.classes)
    assert len(set(space.classes)) == num_classes
    assert len(set(space.palette)) == len(space.palette) == num_classes
    assert set(space.things) < set(range(num_classes))
    assert len(space.table) == 256
    assert set(counted(space).values()) == set(range(num_classes))
    assert set(space.table) <= {*range(num_classes), 254, 255}
    assert space.table[255] == 255


def test_cityscapes_ids_as_camvid_classes():
    expected = {
        **{"sky": [23], "building": [11, 12], "pole": [17], "road": [7], "pavement": [8]},
        **{"tree": [21], "sign symbol": [19, 20], "fence": [13], "car": [26, 27, 28, 31]},
        **{"pedestrian": [24], "bicyclist": [25, 32, 33]},
    }
    table = {label_id: name for name, ids in expected.items() for label_id in ids}
    found = {v: CAMVID.classes[t] for v, t in counted(CITYSCAPES_AS_CAMVID).items()}
    assert found == table
    assert CITYSCAPES_AS_CAMVID.table[22] == 255  # terrain
    assert unknown(CITYSCAPES_AS_CAMVID) == list(range(35, 255))


def test_cityscapes_ids():
    # id -> train id, from the data set's documentation
    expected = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9}
    expected |= {23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
    assert counted(CITYSCAPES) == expected
    assert unknown(CITYSCAPES) == list(range(35, 255))  # GTA's license plate is 34
    assert {label_id: t for t, label_id in enumerate(CITYSCAPES_IDS)} == expected


def test_train_ids_are_stored_as_they_are():
    assert counted(CITYSCAPES_TRAIN_IDS) == {k: k for k in range(19)}
    assert unknown(CITYSCAPES_TRAIN_IDS) == list(range(19, 255))
    assert CITYSCAPES_TRAIN_IDS.classes == CITYSCAPES.classes


def test_synthia_ids():
    # id -> name, from the data set's documentation
    names = {1: "sky", 2: "building", 3: "road", 4: "sidewalk", 5: "fence", 6: "vegetation"}
    names |= {7: "pole", 8: "car", 9: "traffic sign", 10: "person", 11: "bicycle"}
    names |= {12: "motorcycle", 15: "traffic light", 16: "terrain", 17: "rider", 18: "truck"}
    names |= {19: "bus", 20: "train", 21: "wall"}
    assert {i: SYNTHIA.classes[t] for i, t in counted(SYNTHIA).items()} == names
    assert [SYNTHIA.table[i] for i in (0, 13, 14, 22, 23, 200)] == [255] * 6
    assert {label_id: t for t, label_id in enumerate(SYNTHIA_IDS)} == counted(SYNTHIA)
    assert (SYNTHIA.classes, SYNTHIA.palette) == (CITYSCAPES.classes, CITYSCAPES.palette)


def test_synthia_class_subsets():
    left_out = {"terrain", "truck", "train"}
    names = [CITYSCAPES.classes[k] for k in CITYSCAPES_16]
    assert names == [name for name in CITYSCAPES.classes if name not in left_out]
    left_out |= {"wall", "fence", "pole"}
    names = [CITYSCAPES.classes[k] for k in CITYSCAPES_13]
    assert names == [name for name in CITYSCAPES.classes if name not in left_out]
    assert (len(CITYSCAPES_16), len(CITYSCAPES_13)) == (16, 13)


def test_a_table_knows_all_other_values_unless_told_which():
    assert set(id_table({3: 0})) == {0, 255}
    table = id_table({3: 0, 4: 1}, ignored=(7,))
    assert [table[i] for i in (3, 4, 7, 255, 0, 8)] == [0, 1, 255, 255, 254, 254]


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
    assert unknown(CAMVID) == list(range(12, 255))
    assert [CAMVID.classes[i] for i in CAMVID.things] == [
        "sign symbol",
        "car",
        "pedestrian",
        "bicyclist",
    ]
