import numpy as np
import pytest

from copt_d2.class_names import ClassList, require_distinct_names, require_same_classes
from copt_d2.errors import InputError


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["road", "sky"], ("road", "sky")),
        ([np.str_("road"), ["sky", "air"]], ("road", ("sky", "air"))),
        ([], ()),
    ],
)
def test_equal_lists(first, second):
    require_same_classes(ClassList("a", first), ClassList("b", second), "mend it")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            ["sky", "car", "road"],
            ["sky", "road", "car"],
            "a and b have the same classes in another order: class 1 is 'car' in the first and "
            "'road' in the second; mend it",
        ),
        (
            ["sky", "car", "Road"],
            ["sky", "car", "road"],
            "a and b have different classes: class 2 is 'Road' in the first and 'road' in the "
            "second; mend it",
        ),
        (
            ["sky"],
            ["sky", "road"],
            "a has 1 classes and b has 2: class 1 is missing in the first and 'road' in the "
            "second; mend it",
        ),
        (
            [["sky", "air"], "road"],
            ["sky", "road"],
            "a and b have different classes: class 0 is ['sky', 'air'] in the first and 'sky' in "
            "the second; mend it",
        ),
    ],
)
def test_the_message_names_both_sides_and_the_first_difference(first, second, message):
    with pytest.raises(InputError) as error:
        require_same_classes(ClassList("a", first), ClassList("b", second), "mend it")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["road", "sky", "road"], "'road' of class 0 and 'road' of class 2 are one name"),
        (["traffic light", "Traffic  Light"], "'traffic light' of class 0 and 'Traffic  Light'"),
        (["Straße", "STRASSE"], "are one name"),
        # one letter, and a letter with a combining accent
        (["caf\u00e9", "cafe\u0301"], "are one name"),
        (["road", ""], "empty class name"),
        (["road", " \t"], "empty class name"),
        (["road", 3], "3 is neither a name nor a list of synonyms"),
        (["road", None], "None is neither a name"),
        (["road", []], r"\[\] is neither a name"),
        (["road", {"sky": 1}], "neither a name"),
    ],
)
def test_names_that_tell_nothing_apart(names, told):
    with pytest.raises(InputError, match=f"^own: .*{told}"):
        require_distinct_names(ClassList("own", names))


def test_synonyms_of_one_class_may_be_alike():
    require_distinct_names(ClassList("own", [["road", "Road"], ["person", "people"]]))
