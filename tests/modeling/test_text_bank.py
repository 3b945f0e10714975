import importlib
import json
import sys

import pytest
import torch
from safetensors.torch import save_file

from copt_d2.errors import InputError
from copt_d2.modeling import text_bank
from copt_d2.modeling.text_bank import load_text_bank

NAMES = ["road", "sky", "tree"]


def write(path, bank, names=NAMES):
    metadata = {} if names is None else {"class_names": json.dumps(names)}
    save_file({"text_embeddings": bank}, path, metadata)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bank.safetensors"


def test_reads_the_embeddings(path):
    bank = torch.arange(15, dtype=torch.float32).reshape(3, 5)
    loaded = load_text_bank(write(path, bank), ("road", "sky", "tree"))
    assert torch.equal(loaded, bank)
    assert not loaded.requires_grad


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["sky", "road", "tree"], "the same classes in another order: class 0 is 'sky' "),
        (["road", "sky"], "2 classes and the model has 3: class 2 is missing in the first"),
        (["Road", "sky", "tree"], "different classes: class 0 is 'Road' in the first and 'road' "),
        (["road", ["sky", "clouds"], "tree"], r"class 1 is \['sky', 'clouds'\] in the first"),
    ],
)
def test_other_classes_are_refused_with_the_first_difference(path, names, told):
    write(path, torch.eye(len(names), 5), names)
    with pytest.raises(InputError, match=rf"the text bank {path} .*{told}.*copt bank "):
        load_text_bank(path, NAMES)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([[1, 2, 3], [4, 5, 7], [1, 2, 3]], "embeddings of 'road', 'tree' are equal"),
        ([[1, 2, 3], [4, 5, 7], [4, 5, 7.000001]], "embeddings of 'sky', 'tree' are equal"),
        ([[1e-9, 2e-9, 3e-9], [1, 2, 4], [1e-9, 2e-9, 3e-9]], "embeddings of 'road', 'tree' are"),
        ([[5, 6, 9]] * 3, "embeddings of 'road', 'sky', 'tree' are equal"),
        ([[1, 2, 3], [0, 0, 0], [4, 5, 7]], "embedding of 'sky' is zero or constant"),
        ([[2, 2, 2], [3, 4, 4], [1, 1, 1]], "embedding of 'road', 'tree' is zero or constant"),
    ],
)
def test_rows_that_tell_no_classes_apart_are_refused(path, rows, told):
    with pytest.raises(InputError, match=rf"the text bank {path}: the {told}"):
        load_text_bank(write(path, torch.tensor(rows, dtype=torch.float32)), NAMES)


def test_near_classes_are_no_equal_ones(path):
    # a common part of 100, as large language models have it, and a difference of 0.1
    rows = 100 + torch.arange(3).float()[:, None] * torch.tensor([0.1, 0.0, -0.1])
    rows[:, 1] += 1
    assert len(load_text_bank(write(path, rows), NAMES)) == 3


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        (torch.ones(4, 5), r"\(4, 5\), expected \(3, D\)"),
        (torch.ones(3), r"\(3,\), expected \(3, D\)"),
        (torch.ones(3, 1), r"D > 1"),
        (torch.ones(3, 5, dtype=torch.float16), "float16, expected torch.float32"),
        (torch.tensor([[1.0, 2.0], [3.0, float("nan")], [5.0, 6.0]]), "NaN"),
        (torch.tensor([[1.0, 2.0], [3.0, float("-inf")], [5.0, 6.0]]), "infinite"),
    ],
)
def test_wrong_embeddings_are_refused(path, bank, message):
    with pytest.raises(InputError, match=message):
        load_text_bank(write(path, bank), NAMES)


def test_missing_file_says_how_to_make_it(path):
    with pytest.raises(InputError, match=rf"TEXT_BANK.*copt bank .*--out {path}"):
        load_text_bank(path, NAMES)


def test_empty_key_is_named():
    with pytest.raises(InputError, match=r"MODEL\.COPT\.TEXT_BANK is empty.*copt bank"):
        load_text_bank("", NAMES)


@pytest.mark.parametrize(
    "damage", ["cut", "text", "empty", "no names", "no tensor", "bad names", "names as a table"]
)
def test_unreadable_file_is_named_in_one_line(path, damage):
    content = write(path, torch.ones(3, 5)).read_bytes()
    if damage == "no names":
        write(path, torch.ones(3, 5), names=None)
    elif damage == "no tensor":
        save_file({"weights": torch.ones(3, 5)}, path, {"class_names": json.dumps(NAMES)})
    elif damage == "names as a table":
        write(path, torch.ones(3, 5), {"road": 0})
    elif damage == "bad names":
        save_file({"text_embeddings": torch.ones(3, 5)}, path, {"class_names": "road, sky"})
    else:
        path.write_bytes(
            {"cut": content[:-7], "text": b"road,sky,tree\n" * 9, "empty": b""}[damage]
        )
    with pytest.raises(InputError, match=r"not a readable text bank .*copt bank") as error:
        load_text_bank(path, NAMES)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_text_encoder_is_needed(path, monkeypatch):
    for name in ("sentence_transformers", "transformers", "open_clip", "copt_d2.text"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    reloaded = importlib.reload(text_bank)
    assert reloaded.load_text_bank(write(path, torch.eye(3, 5)), NAMES).shape == (3, 5)


def test_names_that_are_nested_too_deep(tmp_path):
    path = tmp_path / "bank.safetensors"
    save_file({"text_embeddings": torch.randn(2, 4)}, path, {"class_names": "[" * 100_000})
    with pytest.raises(InputError, match=r"not a readable text bank \(maximum recursion") as raised:
        load_text_bank(path, ["a", "b"])
    assert "\n" not in str(raised.value)
