import json

import pytest

from copt_d2.errors import InputError
from copt_d2.text import domain_templates, fill_template, load_template_lists
from copt_d2.text.templates import TEMPLATES_FOLDER, template_groups


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_packaged_lists_are_complete():
    lists = load_template_lists()
    assert {"day", "dusk", "night", "fog", "rain", "snow", "rendered", "real"} <= set(lists)
    for name, templates in lists.items():
        assert 12 <= len(templates) <= 18, name
        assert len(set(templates)) == len(templates), name


def test_packaged_files_say_where_their_text_comes_from():
    for file in TEMPLATES_FOLDER.glob("*.json"):
        content = json.loads(file.read_text())
        assert "language model" in content["_provenance"]
        assert file.stem in content


def test_file_in_the_published_form_loads_in_order(tmp_path):
    lists = {"wet": ["{} in a puddle", "a wet {}"], "dry": ["{} in dust"]}
    assert load_template_lists(write(tmp_path / "lists.json", lists)) == lists
    assert list(load_template_lists(tmp_path / "lists.json")) == ["wet", "dry"]


def test_union_keeps_order_and_drops_repetitions(tmp_path):
    lists = {
        "a": ["{} one", "{} two"],
        "b": ["{} three", "{} one", "{} four"],
        "c": ["{} two", "{} 5"],
    }
    path = write(tmp_path / "lists.json", lists)
    assert domain_templates(("b",), ("a", "c"), path) == [
        *("{} three", "{} one", "{} four", "{} two", "{} 5")
    ]
    assert domain_templates(("c",), (), path) == ["{} two", "{} 5"]


def test_a_class_name_may_hold_braces():
    assert fill_template("{} in fog", "box {0} {}") == "box {0} {} in fog"
    assert fill_template("a sunlit {}", "自行车") == "a sunlit 自行车"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"day": []}, "'day' is empty"),
        ({"day": ["no place"]}, "'no place'"),
        ({"day": ["{} and {}"]}, "exactly one {}"),
        ({"day": ["{0} at noon"]}, "exactly one {}"),
        ({"day": [3]}, "holds 3"),
        ({"day": "{} at noon"}, "'day' is not a list"),
        ({"_provenance": "nobody"}, "no template lists"),
        (["{} at noon"], "got list"),
        ('{"day": ["{} x"], "day": ["{} y"]}', "'day' occurs twice"),
        ('{"day": ', "not a JSON file"),
        ("[" * 3000, "not a JSON file"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(InputError) as error:
        load_template_lists(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json.*MODEL\.COPT\.TEMPLATES"):
        load_template_lists(tmp_path / "nowhere.json")


def test_a_file_with_a_byte_order_mark_loads(tmp_path):
    (tmp_path / "lists.json").write_text('{"day": ["{} x"]}', encoding="utf-8-sig")
    assert load_template_lists(tmp_path / "lists.json") == {"day": ["{} x"]}


@pytest.mark.parametrize("path", ["", "hand_crafted"])
@pytest.mark.parametrize("domain", [3, ["day"], None])
def test_a_domain_that_is_no_text_is_refused(path, domain):
    with pytest.raises(InputError, match="TARGET_DOMAINS"):
        domain_templates(("day",), (domain,), path)


def test_a_list_in_two_files_of_a_folder_is_refused(tmp_path):
    write(tmp_path / "one.json", {"day": ["{} x"]})
    write(tmp_path / "two.json", {"day": ["{} y"]})
    with pytest.raises(InputError, match=r"two\.json.*'day' occurs twice"):
        load_template_lists(tmp_path)


def test_unknown_domain_lists_the_known_ones():
    with pytest.raises(InputError, match=r"'noon'.*known: .*day, dusk.*real, rendered"):
        domain_templates(("day",), ("noon",))


def test_no_domain_at_all_names_the_keys_and_the_lists():
    names = "day, dusk, fog, night, rain, real, rendered, snow"
    with pytest.raises(InputError, match=rf"SOURCE_DOMAINS.*TARGET_DOMAINS are empty.* {names}$"):
        domain_templates((), ())
    with pytest.raises(InputError, match="are empty: name words, such as 'photo'"):
        domain_templates((), (), "hand_crafted")


def test_marked_words_stand_beside_lists(tmp_path):
    (tmp_path / "lists.json").write_text('{"day": ["{} at noon"]}')
    groups = template_groups(
        ("day", "hand_crafted:old film"), ("hand_crafted:aerial view",), tmp_path
    )
    assert groups == [[["{} at noon"], ["an old film of a {}"]], [["an aerial view of a {}"]]]
    both = template_groups(("hand_crafted:photo",), ("photo",), "hand_crafted")
    assert both == [[["a photo of a {}"]], [["a photo of a {}"]]]


def test_words_without_the_mark_are_no_list(tmp_path):
    (tmp_path / "lists.json").write_text('{"day": ["{} at noon"]}')
    with pytest.raises(
        InputError, match=r"no template list 'old film' .*known: day; words of your"
    ):
        template_groups(("old film",), (), tmp_path)


@pytest.mark.parametrize("words", ["", "  ", "a {} of"])
def test_marked_words_that_are_none(tmp_path, words):
    (tmp_path / "lists.json").write_text('{"day": ["{} at noon"]}')
    with pytest.raises(InputError, match="is no word for a kind of image"):
        template_groups((f"hand_crafted:{words}",), (), tmp_path)
