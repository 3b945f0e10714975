"""Synonyms and the averages that the paper and its code disagree about (copt_d2/text/bank.py)."""

import json

import pytest
import torch
from safetensors import safe_open

from copt_d2.errors import InputError
from copt_d2.modeling.text_bank import load_text_bank
from copt_d2.text import BankRecipe, build_bank, build_bank_of, ensure_text_bank
from copt_d2.text import bank as bank_module

# the encoder gives characters, words, letters "a" of a prompt
GROUPS = [[["a {}", "{} at sea"]], [["{} b"], ["{} at sea", "{} cc", "{} ddddd"]]]


@pytest.fixture(autouse=True)
def encoder(monkeypatch, word_count_encoder):
    monkeypatch.setattr(bank_module, "build_encoder", lambda *arguments: word_count_encoder)
    return word_count_encoder


def characters(bank):
    return bank[:, 0].tolist()


def test_flat_counts_each_template_once(encoder):
    bank = build_bank_of(BankRecipe(["cat"], GROUPS), encoder)
    # a cat 5, cat at sea 10, cat b 5, cat cc 6, cat ddddd 9
    assert characters(bank) == [35 / 5]
    assert len(encoder.prompts) == 5


def test_two_level_is_the_mean_of_lists_then_domains(encoder):
    bank = build_bank_of(BankRecipe(["cat"], GROUPS, "two_level"), encoder)
    source = (5 + 10) / 2
    target = (5 + (10 + 6 + 9) / 3) / 2  # the repeated template counts in both of its lists
    torch.testing.assert_close(bank[0, 0].item(), (source + target) / 2)
    assert len(encoder.prompts) == 5


def test_two_level_of_one_domain_is_its_mean(encoder):
    bank = build_bank_of(BankRecipe(["cat"], [[["a {}", "{} at sea"]]], "two_level"), encoder)
    assert characters(bank) == [7.5]


def test_prompts_of_length_one(encoder):
    bank = build_bank_of(BankRecipe(["cat"], [[["a {}", "{} at sea"]]], normalize=True), encoder)
    rows = torch.tensor([[5.0, 2.0, 2.0], [10.0, 3.0, 3.0]])
    expected = (rows / rows.pow(2).sum(dim=1, keepdim=True).sqrt()).mean(dim=0)
    torch.testing.assert_close(bank[0], expected)
    assert bank[0].norm() < 1  # the mean itself is not normalised


def test_synonyms_are_averaged(encoder):
    bank = build_bank([["cat", "tomcat"], "sea"], ["a {}"], encoder)
    assert characters(bank) == [(5 + 8) / 2, 5]
    assert encoder.prompts == ["a cat", "a tomcat", "a sea"]


def test_one_synonym_is_the_name_itself(minilm):
    templates = ["{} in fog", "{} at night"]
    assert torch.equal(
        build_bank([["car"]], templates, minilm), build_bank(["car"], templates, minilm)
    )


@pytest.mark.parametrize("entry", [3, True, [], ["car", 5], ["car", " "], "", None])
def test_a_class_that_is_no_name_is_refused(encoder, entry):
    with pytest.raises(InputError, match=r"MODEL\.COPT\.CLASS_NAMES"):
        build_bank(["road", entry], ["{}"], encoder)


def test_synonyms_from_the_config_reach_the_model(text_cfg):
    text_cfg.merge_from_list(["MODEL.COPT.CLASS_NAMES", "['road', ('person', 'pedestrian')]"])
    path = ensure_text_bank(text_cfg, ["street", "human"])
    assert load_text_bank(path, text_cfg.MODEL.COPT.CLASS_NAMES).shape == (2, 3)
    with pytest.raises(InputError, match=r"\['person', 'pedestrian'\] in .* 'person' in"):
        load_text_bank(path, ["road", "person"])


@pytest.mark.parametrize(
    "changes",
    [
        {"AVERAGING": "two_level"},
        {"NORMALIZE_PROMPTS": True},
        {"ARTICLE": True},
        {"TEMPLATES": "hand_crafted"},
        {"CLASS_NAMES": ["road", ["tree", "bush"]]},
        {"CLASS_NAMES": ["road", ["bush", "tree"]]},
    ],
)
def test_each_option_has_a_bank_of_its_own(text_cfg, changes):
    names = ["road", "tree"]
    before = ensure_text_bank(text_cfg, names)
    for key, value in changes.items():
        text_cfg.MODEL.COPT[key] = value
    after = ensure_text_bank(text_cfg, names)
    with safe_open(before, "pt") as old, safe_open(after, "pt") as new:
        assert old.metadata() != new.metadata()
    assert before != after


def test_two_level_banks_of_swapped_lists_differ(text_cfg):
    text_cfg.MODEL.COPT.AVERAGING = "two_level"
    text_cfg.MODEL.COPT.TARGET_DOMAINS = ("dusk", "night")
    before = ensure_text_bank(text_cfg, ["road"])
    text_cfg.MODEL.COPT.SOURCE_DOMAINS = ("day", "dusk")
    text_cfg.MODEL.COPT.TARGET_DOMAINS = ("night",)  # the same union in the same order
    after = ensure_text_bank(text_cfg, ["road"])
    assert before != after
    with safe_open(after, "pt") as file:
        metadata = file.metadata()
    assert [len(lists) for lists in json.loads(metadata["template_groups"])] == [2, 1]
    assert metadata["averaging"] == "two_level"


def test_an_unknown_average_is_refused(text_cfg):
    text_cfg.MODEL.COPT.AVERAGING = "median"
    with pytest.raises(InputError, match=r"AVERAGING must be one of flat, two_level, got 'median'"):
        ensure_text_bank(text_cfg, ["road"])
