from dataclasses import replace

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from copt_d2.data import register_dataset
from copt_d2.data.datasets import SPLITS
from copt_d2.data.label_spaces import LabelSpace, id_table, train_id_table
from copt_d2.errors import InputError

SPACE = LabelSpace(
    ("ground", "house", "tree"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)), (1,), train_id_table(3)
)
MANY = tuple(f"class {k}" for k in range(255))


def register(space, **options):
    register_dataset("own", lambda: [], space, **options)


@pytest.fixture(autouse=True)
def _catalogs():
    yield
    for catalog in (DatasetCatalog, MetadataCatalog):
        if "own" in catalog.list():
            catalog.remove("own")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        # the table
        ({"table": train_id_table(4)}, "table, stored value 3: 3 is no train id of 0..2, nor 255"),
        ({"table": (0, 1, 2)}, "table has 3 entries; needed are 256"),
        ({"table": (0, 1, 2, *[-1] * 253)}, "table, stored value 3: -1 is no train id"),
        ({"table": (0, 1, 2, *[256] * 253)}, "table, stored value 3: 256 is no train id"),
        ({"table": (0, 1.0, *[255] * 254)}, "table, stored value 1: 1.0 is no train id"),
        ({"table": (0, None, *[255] * 254)}, "table, stored value 1: None is no train id"),
        ({"table": (False, *[255] * 255)}, "table, stored value 0: False is no train id"),
        ({"table": np.full(256, np.nan)}, "table, stored value 0: .*nan.* is no train id"),
        ({"table": {7: 0}}, "table is {7: 0}; needed is a tuple or list of train ids"),
        ({"table": None}, "table is None; needed is a tuple or list of train ids"),
        # the palette
        ({"palette": SPACE.palette[:2]}, "palette has 2 colours for 3 classes"),
        ({"palette": [(i, i, i) for i in range(256)]}, "palette has 256 colours for 3 classes"),
        ({"palette": ((0, 0, 0),) * 2 + ((0, 0, 256),)}, r"palette: \(0, 0, 256\) is no \(red"),
        ({"palette": ((0, 0, 0),) * 2 + ((0, -1, 0),)}, r"palette: \(0, -1, 0\) is no \(red"),
        ({"palette": ((0, 0, 0),) * 2 + ((0, 0.5, 1),)}, r"palette: \(0, 0.5, 1\) is no \(red"),
        ({"palette": ((0, 0, 0),) * 2 + ((0, 0, 0, 9),)}, "palette: .* is no .red, green"),
        ({"palette": ("red", "green", "blue")}, "palette: 'red' is no .red, green, blue"),
        ({"palette": (0, 1, 2)}, "palette: 0 is no .red, green, blue"),
        # things
        ({"things": (3,)}, "things: 3 is no train id of 0..2"),
        ({"things": (-1,)}, "things: -1 is no train id of 0..2"),
        ({"things": (1, 1)}, "things: 1 is there twice"),
        ({"things": ("house",)}, r"things: 'house' is no train id of 0..2 \(1 is its train id\)"),
        ({"things": [[1, 2]]}, r"things: \[1, 2\] is no train id"),
        ({"things": np.ones((1, 2), int)}, r"things: array.*is no train id"),
        ({"things": 1}, "things is 1; needed is a tuple or list of train ids"),
        ({"things": {1}}, "things is .1.; needed is a tuple or list"),
        # the names
        ({"classes": ("ground", "house", "house")}, "'house' of class 1 and 'house' of class 2"),
        ({"classes": ("ground", "House", "house ")}, "'House' of class 1 and 'house ' of class 2"),
        ({"classes": ("ground", "", "tree")}, "classes: empty class name"),
        ({"classes": ("ground", 3, "tree")}, "classes: 3 is no text"),
        ({"classes": ("ground", True, "tree")}, "classes: True is no text"),
        ({"classes": ("ground", ("house", "hut"), "tree")}, r"\('house', 'hut'\) is no text"),
        ({"classes": ("ground", "house\nhut", "tree")}, r"'house\\nhut' is no name in one line"),
        ({"classes": "abc"}, "classes is 'abc'; needed is a tuple or list of class names"),
        ({"classes": {"ground": 0}}, "classes is {'ground': 0}; needed is a tuple or list"),
        ({"classes": ()}, "classes has 0 names; needed are 2 to 254"),
        ({"classes": ("ground",)}, "classes has 1 names; needed are 2 to 254"),
        ({"classes": MANY}, "classes has 255 names; needed are 2 to 254"),
    ],
)
def test_a_wrong_label_space_is_refused_when_it_is_registered(changes, told):
    register(SPACE)
    with pytest.raises(InputError, match=f"^data set 'own': .*{told}") as error:
        register(replace(SPACE, **changes))
    assert "\n" not in str(error.value)
    assert MetadataCatalog.get("own").stuff_classes == ["ground", "house", "tree"]  # as before


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ((0, 1, 3), "evaluation_classes: 3 is no train id of 0..2"),
        ((-1,), "evaluation_classes: -1 is no train id"),
        ((0, 0), "evaluation_classes: 0 is there twice"),
        ((), "evaluation_classes is empty"),
        (("tree",), "evaluation_classes: 'tree' is no train id of 0..2 .2 is its train id"),
        ("12", "evaluation_classes is '12'"),
    ],
)
def test_wrong_evaluation_classes_are_refused(classes, told):
    with pytest.raises(InputError, match=f"^data set 'own': {told}"):
        register(SPACE, evaluation_classes=classes)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("", lambda: [], SPACE), "the name '' is no text"),
        ((3, lambda: [], SPACE), "the name 3 is no text"),
        (("own", "folder/images", SPACE), "files is a str; needed is a copt_d2.data.layouts.Layo"),
        (("own", lambda: [], SPACE.classes), "its label space is a tuple; needed is a copt_d2"),
    ],
)
def test_other_arguments(arguments, told):
    with pytest.raises(InputError, match=told):
        register_dataset(*arguments)


def test_lists_and_arrays_are_taken_as_plain_numbers():
    register(
        LabelSpace(
            [np.str_("ground"), "house", "tree"],
            np.array(SPACE.palette, np.uint8),
            [np.int64(2)],
            np.array(SPACE.table, np.uint8),
        ),
        evaluation_classes=np.array([2, 0]),
    )
    metadata = MetadataCatalog.get("own")
    assert metadata.stuff_classes == ["ground", "house", "tree"]
    assert metadata.stuff_colors == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
    assert metadata.thing_train_ids == [2]
    assert metadata.evaluation_classes == [2, 0]
    assert metadata.label_table == list(SPACE.table)
    fields = (metadata.stuff_classes, metadata.thing_train_ids, metadata.label_table)
    assert {type(value) for field in fields for value in field} == {str, int}


def test_masks_of_0_and_255_and_254_classes_can_be_registered():
    register(replace(SPACE, table=id_table({0: 0, 255: 1}), things=()))
    assert MetadataCatalog.get("own").label_table[255] == 1
    colors = tuple((k, k, k) for k in range(254))
    register(LabelSpace(MANY[:254], colors, (253,), train_id_table(254)))


def test_this_projects_own_data_sets_fit():
    for split in SPLITS.values():
        register(split.label_space, evaluation_classes=split.evaluation_classes)
