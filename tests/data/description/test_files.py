"""Which files a description's places hold, and which label belongs to which image."""

import os
from pathlib import Path

import pytest

from copt_d2.data.description.files import IMAGE_ENDINGS, Found, list_found, match, suffixes
from copt_d2.data.description.schema import FileSet
from copt_d2.errors import InputError


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name in ("b/2.PNG", "a/1.jpg", "a/deep/x y.JPeG", "ä/3.tif", "a/notes.md", ".hidden/4.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    monkeypatch.setenv("SETS", str(tmp_path))
    return tmp_path / "set"


def keys(*places, suffix=""):
    found = list_found(FileSet(tuple(map(Path, places)), suffix), IMAGE_ENDINGS, "f: source.images")
    assert all(os.path.isfile(file.path) for file in found)
    return [file.key for file in found]


def test_a_folder_with_all_that_is_below(files):
    assert keys(files) == ["a/1", "a/deep/x y", "b/2", "ä/3"]


def test_places_one_after_the_other(files):
    assert keys(files / "b", files / "a") == ["2", "1", "deep/x y"]


def test_globs(files):
    assert keys(f"{files}/*/*.*") == ["a/1", "b/2", "ä/3"]
    assert keys(f"{files}/a/**/*") == ["1", "deep/x y"]


def test_a_folder_whose_name_looks_like_a_glob(tmp_path):
    (tmp_path / "run [3]").mkdir()
    (tmp_path / "run [3]" / "1.png").touch()
    assert keys(tmp_path / "run [3]") == ["1"]


def test_a_single_file(files):
    assert keys(files / "b" / "2.PNG") == ["2"]


def test_a_text_file_of_paths(files):
    paths = "# two\n\na/deep/x y.JPeG\n$SETS/set/b/2.PNG\n"
    (files / "list.txt").write_text("\ufeff" + paths, encoding="utf-8")
    assert keys(files / "list.txt") == ["a/deep/x y", "b/2"]


def test_names_that_are_no_utf_8(files):
    name = os.fsdecode(b"caf\xe9.png")
    (files / "b" / name).touch()
    assert keys(files / "b") == ["2", name.removesuffix(".png")]
    (files / "list.txt").write_bytes(b"b/caf\xe9.png\n")
    assert keys(files / "list.txt") == [name.removesuffix(".png")]


def test_links_that_lead_back(files):
    (files / "a" / "back").symlink_to(files)
    (files / "c").symlink_to(files / "b")
    assert sorted(os.path.basename(key) for key in keys(files)) == ["1", "2", "3", "x y"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("none", "none does not exist"),
        ("empty", "empty holds no file that ends in .png"),
        ("*/none*", "holds no file that ends in .png"),
        ("a/notes.md", "holds no file that ends in .png"),
        ("gone.txt", "gone.txt names {root}/x.png and 1 more, which does not exist"),
        ("odd.txt", "odd.txt names {root}/a/notes.md, which is none of .png"),
        ("void.txt", "void.txt holds no file"),
    ],
)
def test_places_without_images(files, place, said):
    (files / "empty").mkdir()
    (files / "gone.txt").write_text("x.png\ny.png\n")
    (files / "odd.txt").write_text("a/notes.md\n")
    (files / "void.txt").write_text("# nothing\n")
    with pytest.raises(InputError) as caught:
        keys(files / place)
    assert str(caught.value).startswith("f: source.images: ")
    assert said.format(root=files) in str(caught.value)
    assert "\n" not in str(caught.value)


def found(*keys):
    return [Found(key, f"/{key}.png") for key in keys]


def test_pairs_in_the_order_of_the_images():
    joined = match(found("b", "a", "c"), found("a", "b", "d"), "f: source")
    assert joined.pairs == [("/b.png", "/b.png"), ("/a.png", "/a.png")]
    assert (joined.images_alone, joined.labels_alone) == (["/c.png"], ["/d.png"])


def test_two_of_one_name():
    twice = [*found("a"), Found("a", "/a.jpg")]
    with pytest.raises(InputError, match=r"/a\.png and /a\.jpg are two images of one name \(a\)"):
        match(twice, found("a"), "f: source")
    with pytest.raises(InputError, match=r"/a\.png and /a\.jpg are two masks of one name \(a\)"):
        match(found("a"), twice, "f: source")


def test_endings_that_would_make_pairs():
    images = found("x/1_leftImg8bit", "y/2_leftImg8bit")
    labels = found("x/1_gtFine_labelIds", "y/2_gtFine_labelIds")
    assert suffixes(images, labels) == ("_leftImg8bit", "_gtFine_labelIds")
    with pytest.raises(InputError, match="image_suffix: _leftImg8bit, mask_suffix: _gtFine_label"):
        match(images, labels, "f: source")
    assert suffixes(found("1", "2"), found("1_mask", "2_mask")) == ("", "_mask")
    assert suffixes(found("1", "2"), found("3", "4")) is None


def test_suffixes_make_pairs(tmp_path):
    (tmp_path / "1_rgb.png").touch()
    assert keys(tmp_path, suffix="_rgb") == ["1"]


def test_nothing_fits():
    with pytest.raises(InputError, match="no mask belongs to an image: an image is called a/1"):
        match(found("a/1"), found("b/2"), "f: source")
