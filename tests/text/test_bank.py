import json
import os
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from copt_d2.class_names import ClassList, require_distinct_rows
from copt_d2.errors import InputError
from copt_d2.text import bank as bank_module
from copt_d2.text import build_bank, ensure_text_bank, make_text_bank, write_bank

NAMES = ["road", "tree", "car"]


@pytest.fixture
def patched_encoder(monkeypatch, word_count_encoder):
    monkeypatch.setattr(bank_module, "build_encoder", lambda *arguments: word_count_encoder)
    return word_count_encoder


def read_metadata(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_bank_is_the_plain_mean_over_templates(word_count_encoder):
    # characters, words, letters "a": "a cat" 5 2 2, "cat at sea" 10 3 3
    #                                 "a {}" 4 2 1, "{} at sea" 9 3 2
    bank = build_bank(["cat", "{}"], ["a {}", "{} at sea"], word_count_encoder)
    torch.testing.assert_close(bank, torch.tensor([[7.5, 2.5, 2.5], [6.5, 2.5, 1.5]]))


@pytest.mark.parity
def test_bank_of_minilm_is_the_mean_of_single_prompts(minilm):
    templates = ["{} in blue-tinted twilight", "{} at dawn", "a very old photograph of one {}"]
    bank = build_bank(NAMES, templates, minilm)
    assert bank.shape == (3, 384)
    assert bank.dtype == torch.float32
    for row, name in zip(bank, NAMES, strict=True):
        single = [minilm.encode([text.replace("{}", name)])[0].double() for text in templates]
        # float32 rounding: batches are padded, single prompts are not
        torch.testing.assert_close(row.double(), sum(single) / 3, atol=1e-5, rtol=0)


def test_two_builds_are_byte_identical(minilm, tmp_path):
    templates = ["{} in the fading light after sunset", "{} on a bridge"]
    for name in ("first", "second"):
        bank = build_bank(NAMES, templates, minilm)
        write_bank(tmp_path / name, bank, {f"key {index}": "x" for index in range(8)})
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_written_file_holds_bank_and_metadata(tmp_path):
    bank = torch.arange(21, dtype=torch.float32).reshape(7, 3).T  # (3, 7), not contiguous
    metadata = {"class_names": json.dumps(["Straße", 'a "b"', "c"]), "averaging": "flat"}
    path = tmp_path / "new" / "bank.safetensors"
    write_bank(path, bank, metadata)
    assert torch.equal(load_file(path)["text_embeddings"], bank)
    assert read_metadata(path) == metadata
    assert os.listdir(path.parent) == ["bank.safetensors"]  # no temporary file left


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bank.safetensors"
    write_bank(path, torch.ones(2, 3), {"averaging": "flat"})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"bank\.safetensors.*No space left.*COPT_D2_CACHE"):
        write_bank(path, torch.zeros(2, 3), {"averaging": "flat"})
    assert torch.equal(load_file(path)["text_embeddings"], torch.ones(2, 3))
    assert os.listdir(tmp_path) == ["bank.safetensors"]


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        ([], ["{}"], "at least one class"),
        (["road"], [], "one template"),
        (["road", " "], ["{}"], "empty class name"),
    ],
)
def test_nothing_to_encode_is_refused(word_count_encoder, names, templates, message):
    with pytest.raises(InputError, match=message):
        build_bank(names, templates, word_count_encoder)


def test_the_cached_bank_is_used_again(text_cfg, patched_encoder):
    path = ensure_text_bank(text_cfg, NAMES)
    assert len(patched_encoder.prompts) == 3 * 30  # day and dusk have 15 templates each
    assert ensure_text_bank(text_cfg, NAMES) == path
    assert len(patched_encoder.prompts) == 3 * 30
    assert os.path.dirname(path) == os.environ["COPT_D2_CACHE"]


@pytest.mark.parametrize("change", ["classes", "order", "templates", "domains", "encoder"])
def test_whatever_defines_the_bank_changes_its_path(text_cfg, patched_encoder, tmp_path, change):
    names = NAMES
    before = ensure_text_bank(text_cfg, names)
    if change == "classes":
        text_cfg.MODEL.COPT.CLASS_NAMES = ["street", "tree", "car"]
    elif change == "order":
        names = ["tree", "road", "car"]
    elif change == "templates":
        path = tmp_path / "own.json"
        path.write_text(json.dumps({"day": ["{} by day"], "dusk": ["{} by dusk"]}))
        text_cfg.MODEL.COPT.TEMPLATES = str(path)
    elif change == "domains":
        text_cfg.MODEL.COPT.TARGET_DOMAINS = ("real",)
    else:
        patched_encoder.id = "word-count/2"
    after = ensure_text_bank(text_cfg, names)
    assert after != before
    assert os.path.isfile(after)


def test_a_damaged_cached_bank_is_made_again(text_cfg, patched_encoder):
    path = ensure_text_bank(text_cfg, NAMES)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:-5])
    assert ensure_text_bank(text_cfg, NAMES) == path
    assert Path(path).read_bytes() == content


def test_metadata_says_what_the_bank_was_made_from(text_cfg, patched_encoder):
    text_cfg.MODEL.COPT.SOURCE_DOMAINS = ("rendered",)
    text_cfg.MODEL.COPT.TARGET_DOMAINS = ()
    text_cfg.MODEL.COPT.CLASS_NAMES = ["street", "Bäume", "car"]
    metadata = read_metadata(ensure_text_bank(text_cfg, NAMES))
    assert json.loads(metadata["class_names"]) == ["street", "Bäume", "car"]
    templates = json.loads(metadata["templates"])
    assert len(templates) == 15
    assert all(text.count("{}") == 1 for text in templates)
    assert metadata["encoder"] == "word-count/1"
    assert metadata["averaging"] == "flat"
    assert metadata["version.torch"] == version("torch")


def test_a_given_bank_is_taken_as_it_is(text_cfg, patched_encoder, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_bank(path, torch.ones(3, 2), {})
    text_cfg.MODEL.COPT.TEXT_BANK = str(path)
    assert ensure_text_bank(text_cfg, NAMES) == str(path)
    assert patched_encoder.prompts == []


def test_a_missing_given_bank_says_how_to_make_it(text_cfg, tmp_path):
    text_cfg.MODEL.COPT.TEXT_BANK = str(tmp_path / "mine.safetensors")
    with pytest.raises(InputError, match=r"copt bank .*--out .*mine\.safetensors"):
        ensure_text_bank(text_cfg, NAMES)


def test_make_text_bank_ignores_a_given_bank(text_cfg, patched_encoder, tmp_path):
    text_cfg.MODEL.COPT.TEXT_BANK = str(tmp_path / "elsewhere.safetensors")
    bank = make_text_bank(text_cfg, NAMES, tmp_path / "out.safetensors")
    assert torch.equal(load_file(tmp_path / "out.safetensors")["text_embeddings"], bank)
    assert bank.shape == (3, 3)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["street", "tree"], r" has 2 .*data set has 3: .*'street' .* 'road'"),
        (["tree", "car", "road"], "same classes in another order: class 0 is 'tree' .* 'road'"),
        (["street", "car", "tree"], "class 1 is 'car', but 'car' is class 2 of the data set"),
        (["road", ["bush", "Car"], "auto"], "but 'car' is class 2 of the data set"),
        (["road", "tree", "Road "], "'road' of class 0 and 'Road ' of class 2 are one name"),
        ([["road", "way"], "tree", ["way", "car"]], "'way' of class 0 and 'way' of class 2"),
    ],
)
def test_words_that_do_not_fit_the_data_set_are_refused(text_cfg, patched_encoder, words, told):
    text_cfg.MODEL.COPT.CLASS_NAMES = words
    with pytest.raises(InputError, match=f"MODEL.COPT.CLASS_NAMES.*{told}"):
        ensure_text_bank(text_cfg, NAMES)
    assert patched_encoder.prompts == []


def test_other_words_and_synonyms_in_the_order_of_the_data_set_are_taken(
    text_cfg, patched_encoder, tmp_path
):
    text_cfg.MODEL.COPT.CLASS_NAMES = [["street", "road"], ["bush", "bushes"], "Automobile"]
    assert make_text_bank(text_cfg, NAMES, tmp_path / "bank").shape == (3, 3)


def test_a_bank_of_equal_rows_is_not_written(text_cfg, patched_encoder, tmp_path):
    # "hen" and "pig" have the same letters, words and number of "a"
    text_cfg.MODEL.COPT.CLASS_NAMES = ["hen", "goose", "pig"]
    with pytest.raises(InputError, match=r"word-count/1: the embeddings of 'hen', 'pig' are equal"):
        make_text_bank(text_cfg, [], tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_scripts_that_minilm_does_not_know_are_refused(minilm):
    # car and house, road, in Thai
    names = ["road", "รถ", "บ้าน"]
    bank = build_bank(names, ["{} at dawn", "a {}"], minilm)
    with pytest.raises(InputError, match=f"own: the embeddings of '{names[1]}', '{names[2]}' are"):
        require_distinct_rows(bank, ClassList("own", names))


def test_a_cache_that_cannot_be_written_is_named(text_cfg, patched_encoder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot write the text bank.*COPT_D2_CACHE"):
        ensure_text_bank(text_cfg, NAMES)
