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
    "names", [["sky", "road", "tree"], ["road", "sky"], ["Road", "sky", "tree"]]
)
def test_other_classes_are_refused_with_both_lists(path, names):
    write(path, torch.ones(len(names), 5), names)
    with pytest.raises(InputError) as error:
        load_text_bank(path, NAMES)
    for part in (str(path), str(names), str(NAMES), "tools/build_text_bank.py"):
        assert part in str(error.value)


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
    with pytest.raises(InputError, match=rf"TEXT_BANK.*build_text_bank\.py .*--out {path}"):
        load_text_bank(path, NAMES)


def test_empty_key_is_named():
    with pytest.raises(InputError, match=r"MODEL\.COPT\.TEXT_BANK is empty.*build_text_bank\.py"):
        load_text_bank("", NAMES)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "no names", "no tensor", "bad names"])
def test_unreadable_file_is_named_in_one_line(path, damage):
    content = write(path, torch.ones(3, 5)).read_bytes()
    if damage == "no names":
        write(path, torch.ones(3, 5), names=None)
    elif damage == "no tensor":
        save_file({"weights": torch.ones(3, 5)}, path, {"class_names": json.dumps(NAMES)})
    elif damage == "bad names":
        save_file({"text_embeddings": torch.ones(3, 5)}, path, {"class_names": "road, sky"})
    else:
        path.write_bytes(
            {"cut": content[:-7], "text": b"road,sky,tree\n" * 9, "empty": b""}[damage]
        )
    with pytest.raises(
        InputError, match=r"not a readable text bank .*build_text_bank\.py"
    ) as error:
        load_text_bank(path, NAMES)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_text_encoder_is_needed(path, monkeypatch):
    for name in ("sentence_transformers", "transformers", "open_clip", "copt_d2.text"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises
    reloaded = importlib.reload(text_bank)
    assert reloaded.load_text_bank(write(path, torch.ones(3, 5)), NAMES).shape == (3, 5)
