"""A data description: what is taken, and the one line for whatever does not fit."""

from pathlib import Path

import pytest

from copt_d2.data.description.read import read_description
from copt_d2.errors import InputError

GOOD = """
root: $PLACE/warehouse
classes:
  - floor
  - {name: pallet, words: [pallet, wooden pallet], color: [190, 153, 90], thing: true, ids: [7, 8]}
  - {name: person, words: worker}
ignore: [255, [0, 0, 0]]
templates: words.json
source: {images: sim/rgb, masks: sim/mask, domain: computer-rendered warehouse}
target: [{images: [camera/a, ~/b], image_suffix: _left}, {images: clip.mp4, every: 10, weight: 2}]
target_labeled: {images: l, coco: l.json, categories: {human: person}, share: 0.25}
val: {images: v, panoptic: {json: v.json, masks: v_masks}, missing: skip}
"""


@pytest.fixture
def write(tmp_path):
    def do(text):
        path = tmp_path / "warehouse.yaml"
        path.write_text(text)
        return path

    return do


@pytest.fixture
def line(write):
    """The message without the file's name."""

    def do(text):
        path = write(text)
        with pytest.raises(InputError) as caught:
            read_description(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message.removeprefix(str(path)).lstrip(":, ")

    return do


def test_everything_that_a_description_says(write, monkeypatch):
    monkeypatch.setenv("PLACE", "/data")
    read = read_description(write(GOOD))
    assert read.name == "warehouse"
    assert read.class_names == ("floor", "pallet", "person")
    assert [entry.ids for entry in read.classes] == [(0,), (7, 8), (2,)]
    assert [entry.words for entry in read.classes] == [
        *(("floor",), ("pallet", "wooden pallet"), ("worker",))
    ]
    assert read.classes[1].color == (190, 153, 90)
    assert [entry.thing for entry in read.classes] == [False, True, False]
    assert (read.ignored_ids, read.ignored_colors) == ((255,), ((0, 0, 0),))
    assert (read.share, read.templates) == (0.25, Path("/data/warehouse/words.json"))
    source = read.parts["source"][0]
    assert source.images.places == (Path("/data/warehouse/sim/rgb"),)
    assert source.labels.files.places == (Path("/data/warehouse/sim/mask"),)
    assert source.domain == "computer-rendered warehouse"
    first, second = read.parts["target"]
    assert first.images.places == (Path("/data/warehouse/camera/a"), Path.home() / "b")
    assert (first.images.suffix, first.labels) == ("_left", None)
    assert (second.every, second.weight, second.key) == (10, 2.0, "target[1]")
    assert read.parts["target_labeled"][0].labels.categories == {"human": "person"}
    val = read.parts["val"][0]
    assert (val.labels.form, val.skip_missing) == ("panoptic", True)


def test_paths_are_relative_to_the_file(write):
    path = write("classes: camvid\nsource: {images: a, masks: b}\ntarget: {images: ../c}")
    read = read_description(path)
    assert read.parts["source"][0].images.places == (path.parent / "a",)
    assert read.parts["target"][0].images.places == (path.parent.parent / "c",)
    assert (read.label_space, len(read.classes), read.classes[3].ids) == ("camvid", 11, (3,))


def test_ids_of_another_set_train_the_classes(write):
    text = "classes: camvid\nsource: {images: a, masks: b, ids: {7: road, 8: pavement, 11: %s}}\n"
    text += "target: {images: c}"
    ids = read_description(write(text % "building")).parts["source"][0].labels.ids
    assert ids == {7: "road", 8: "pavement", 11: "building"}


REST = "\nsource: {images: a, masks: b}\ntarget: {images: c}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classes: [floor, no]", "classes[1].name is the bool False"),
        ("classes: [floor, 1]", "classes[1].name is the number 1"),
        ("classes: [floor, 1.5]", "classes[1].name is the number 1.5"),
        ("classes: [2026-01-02]", "classes[0].name is the date 2026-01-02"),
        ("classes: [~]", "classes[0].name is nothing"),
        ("classes: [floor, Floor]", "classes name 'Floor' twice"),
        ("classes: []", "classes are 0: give 1 to 254"),
        (f"classes: [{', '.join(f'c{n}' for n in range(255))}]", "classes are 255"),
        ("classes: streets", "classes are 'streets': write cityscapes or camvid"),
        ("classes: {floor: 1}", "classes is a table: a list is needed"),
        ("classes: [{words: a}]", "classes[0] has no name"),
        ("classes: [{name: a, colour: [1, 2, 3]}]", "classes[0].colour is no key"),
        ("classes: [{name: a, color: [1, 2]}]", "classes[0].color is a list"),
        ("classes: [{name: a, color: [1, 2, 256]}]", "classes[0].color is the number 256"),
        ("classes: [{name: a, thing: 1}]", "classes[0].thing is the number 1"),
        ("classes: [{name: a, ids: [1, 1]}]", "classes[0].ids is [1, 1]"),
        ("classes: [{name: a, ids: -1}]", "classes[0].ids is the number -1"),
        ("classes: [{name: a, ids: 1}, b]", "classes 'a' and 'b' have the same id 1"),
        (
            "classes: [{name: a, color: [1, 2, 3]}, {name: b, color: [1, 2, 3]}]",
            "classes 'a' and 'b' have the same color (1, 2, 3)",
        ),
        ("classes: [a]\nignor: [1]", "ignor is no key of a data description: did you mean ignore?"),
        ("classes: [a]\nignore: 255", "ignore is the number 255: a list is needed"),
        ("classes: [a]\nclasses: [b]", "line 2: the key 'classes' stands twice, first in line 1"),
        ("classes:\n\t- a", "line 2: it is indented with a tab; use spaces"),
        ("classes: [a", "line 2: "),
        ("classes: !!python/object/apply:os.getcwd []", "line 1: could not determine"),
        ("classes: [a]\nroot: 5", "root is the number 5"),
    ],
)
def test_mistakes_at_the_top(line, text, said):
    assert line(text + REST).startswith(said)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("sim", "source is the text 'sim': a table is needed"),
        ("[]", "source is an empty list"),
        ("{masks: b}", "source has no images"),
        ("{images: a}", "source has no labels: add one of masks"),
        ("{images: '', masks: b}", "source.images is empty"),
        ("{images: [], masks: b}", "source.images is an empty list"),
        ("{images: 5, masks: b}", "source.images is the number 5"),
        ("{image: a, masks: b}", "source.image is no key of a data description: did you mean"),
        ("{images: a, masks: b, coco: c}", "source has masks and coco"),
        ("{images: a, masks: b, format: rgb}", "source.format is the text 'rgb'"),
        ("{images: a, coco: b, format: ids}", "source.format belongs to masks"),
        ("{images: a, masks: b, categories: {x: floor}}", "source.categories belongs to coco"),
        ("{images: a, coco: b, categories: {x: flor}}", "source.categories maps 'x' to the text"),
        ("{images: a, masks: b, ids: {7: flor}}", "source.ids maps 7 to the text 'flor', which is"),
        ("{images: a, masks: b, ids: {x: floor}}", "a value in source.ids is the text 'x'"),
        ("{images: a, masks: b, missing: yes}", "source.missing is the bool True"),
        ("{images: a, masks: b, weight: 0}", "source.weight is the number 0"),
        ("{images: a, masks: b, weight: .nan}", "source.weight is the number nan"),
        ("{images: a, masks: b, every: 0}", "source.every is the number 0"),
        ("{images: a, masks: b, every: 1.5}", "source.every is the number 1.5"),
        ("{images: a, masks: b, share: 0.5}", "source.share belongs to target_labeled"),
        ("{images: a, panoptic: b}", "source.panoptic is the text 'b'"),
        ("{images: a, panoptic: {json: b}}", "source.panoptic has no masks"),
        ("[{images: a, masks: b}, {images: a}]", "source[1] has no labels"),
        ("{images: a, masks: b, masks: c}", "line 2: the key 'masks' stands twice"),
    ],
)
def test_mistakes_in_a_data_set(line, source, said):
    assert line(f"classes: [floor]\nsource: {source}\ntarget: {{images: c}}").startswith(said)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("source: {images: a, masks: b}", "target is missing"),
        ("target: {images: a}", "source is missing"),
        (f"{REST}\ntarget: {{images: a}}", "line 4: the key 'target' stands twice"),
        ("source: {images: a, masks: b}\ntarget: {images: a, masks: b}", "target has masks, but"),
        (f"{REST}\ntarget_labeled: {{images: a, masks: b, share: 2}}", "target_labeled.share is 2"),
    ],
)
def test_mistakes_in_roles(line, rest, said):
    assert line(f"classes: [floor]\n{rest.lstrip()}").startswith(said)


@pytest.mark.parametrize("content", [b"", b"- a", b"floor", b"\xff\xfe\x00", b"{[1]: 2}"])
def test_no_table(tmp_path, content):
    path = tmp_path / "file.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file\.yaml"):
        read_description(path)


def test_no_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml cannot be read: No such file"):
        read_description(tmp_path / "none.yaml")
