"""Hand-crafted templates, the article, and the lists that the authors have published."""

import json
import os
from pathlib import Path

import pytest

from copt_d2.engine import load_config
from copt_d2.errors import InputError
from copt_d2.text import domain_templates, load_template_lists, template_groups
from copt_d2.text.templates import union_of

ROOT = Path(__file__).resolve().parents[2]
# the authors' lists are theirs: they are read where somebody has put them, never copied
PUBLISHED = Path(
    os.environ.get("COPT_PUBLISHED_TEMPLATES", ROOT.parent / "shared/data/templates/published.json")
)
SIZES = {
    **{"hand_crafted_gta": 2, "real": 17, "synthetic": 14, "daytime": 15, "nighttime": 15},
    **{"fog": 14, "rain": 14, "snow": 14},
}


@pytest.fixture
def published(tmp_path):
    """The authors' file, or where it is not there a stand-in of its form and sizes."""
    if PUBLISHED.is_file():
        return PUBLISHED
    lists = {name: [f"{{}} with {name} {n}" for n in range(size)] for name, size in SIZES.items()}
    lists["snow"][0] = lists["fog"][0]  # these two share one
    path = tmp_path / "published.json"
    path.write_text(json.dumps(lists))
    return path


def test_groups_keep_lists_apart(tmp_path):
    lists = {"a": ["{} one", "{} two"], "b": ["{} two", "a {} three"], "c": ["{} four"]}
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(lists))
    groups = template_groups(("a",), ("b", "c"), path)
    assert groups == [[lists["a"]], [lists["b"], lists["c"]]]
    assert union_of(groups) == ["{} one", "{} two", "a {} three", "{} four"]
    assert template_groups((), ("c",), path) == [[["{} four"]]]


def test_the_article_stands_before_a_class_that_begins(tmp_path):
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"a": ["{} with fog", "an old {}"]}))
    assert template_groups(("a",), (), path, article=True) == [[["A {} with fog", "an old {}"]]]


def test_hand_crafted_templates_need_no_file():
    assert template_groups(("video game",), ("photo", "infrared image"), "hand_crafted") == [
        [["a video game of a {}"]],
        [["a photo of a {}"], ["an infrared image of a {}"]],
    ]


@pytest.mark.parametrize("word", ["", "  ", "photo {}"])
def test_a_hand_crafted_domain_without_words_is_refused(word):
    with pytest.raises(InputError, match="is no word for a kind of image"):
        template_groups(("photo",), (word,), "hand_crafted")


def test_published_lists_load_by_path(published):
    lists = load_template_lists(published)
    assert {name: len(templates) for name, templates in lists.items()} == SIZES
    # templates of each task, as the released code unites them
    assert len(domain_templates(("synthetic",), ("real",), published)) == 31
    assert len(domain_templates(("daytime",), ("nighttime",), published)) == 30
    conditions = ("nighttime", "fog", "rain", "snow")
    assert len(domain_templates(("real",), conditions, published)) == 73  # fog and snow share one
    # none of their attributes is in the package
    theirs = {template for one in lists.values() for template in one}
    assert theirs & {t for one in load_template_lists().values() for t in one} == set()


def test_the_hand_crafted_ablation():
    cfg = load_config(str(ROOT / "configs/ablations/gta2cs_templates_hand_crafted.yaml"))
    copt = cfg.MODEL.COPT
    ours = domain_templates(copt.SOURCE_DOMAINS, copt.TARGET_DOMAINS, copt.TEMPLATES)
    words = (*copt.SOURCE_DOMAINS, *copt.TARGET_DOMAINS)
    assert ours == [f"a {word} of a {{}}" for word in words]  # Eq. 2
    if PUBLISHED.is_file():  # and that is the authors' pair
        assert set(ours) == set(load_template_lists(PUBLISHED)["hand_crafted_gta"])
