"""From a user's words to a bank: each case works, or ends in one line that says what to do."""

import json
from pathlib import Path

import pytest
import torch

from copt_d2.engine import load_config
from copt_d2.modeling.text_bank import load_text_bank
from copt_d2.text import ensure_text_bank

ROOT = Path(__file__).resolve().parents[2]
ABLATIONS = sorted((ROOT / "configs/ablations").glob("gta2cs_[te][en][mc]*.yaml"))
STAND_INS = {
    "open_clip": "clip_folder",
    "hf": "causal_lm_folder",
    "sentence_transformers": "sentence_t5_folder",
}


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("build_text_bank")


@pytest.fixture
def build(tool, tmp_path, empty_hub, clip_folder, capsys):
    """Runs the tool with class names and other keys; the bank, or the line of the error."""
    (tmp_path / "words.yaml").write_text("MODEL: {COPT: {CLASS_NAMES: [road]}}")
    defaults = {
        **{"ENCODER": "open_clip:ViT-B-32", "ENCODER_WEIGHTS": str(clip_folder)},
        **{"TEMPLATES": "hand_crafted", "SOURCE_DOMAINS": ["game"], "TARGET_DOMAINS": ["photo"]},
    }

    def run(names, *flags, **keys):
        out = tmp_path / "bank.safetensors"
        options = {**defaults, **keys, "CLASS_NAMES": names}
        pairs = [str(x) for key, value in options.items() for x in (f"MODEL.COPT.{key}", value)]
        arguments = ["--config-file", str(tmp_path / "words.yaml"), "--out", str(out)]
        try:
            tool.main([*arguments, *flags, *pairs])
        except SystemExit as end:
            assert not out.exists()
            return str(end.code)
        return load_text_bank(out, names)

    return run


@pytest.mark.parametrize(
    "names",
    [
        ["road"],
        [f"thing number {k}" for k in range(1000)],
        ["box {}", "{0} crate {1}", "a } b {"],
        ["自行车", "дорога", "Straße", "طريق", "🚲"],
        ["traffic light", ["person", "pedestrian", "human being"]],
        ["$cost$", "50% off", 'say "no"', "a\\b"],
    ],
    ids=["one", "thousand", "braces", "letters", "synonyms", "signs"],
)
def test_any_class_names(build, names, capsys, tmp_path):
    bank = build(names, "--show")
    assert bank.shape == (len(names), 24)
    # no row is another one's, so every name has been read
    assert len(torch.unique(bank, dim=0)) == len(names)
    printed = capsys.readouterr().out
    first = names[-1] if isinstance(names[-1], str) else names[-1][0]
    assert first in printed
    assert (tmp_path / "bank.png").read_bytes().startswith(b"\x89PNG")


def without_attributes(tmp_path):
    path = tmp_path / "lists.json"
    path.write_text(json.dumps({"drone": [], "street": ["{} on a street"]}))
    return {"TEMPLATES": str(path), "SOURCE_DOMAINS": ["street"], "TARGET_DOMAINS": ["drone"]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ENCODER": "word2vec"}, "unknown text encoder 'word2vec'; known: minilm, open_clip"),
        ({"ENCODER": "open_clip:ViT-B-33", "ENCODER_WEIGHTS": ""}, "near: "),
        ({"ENCODER_WEIGHTS": ""}, "run `hf download timm/vit_base_patch32_clip_224.openai"),
        ({"ENCODER": "hf:me/mine", "ENCODER_WEIGHTS": ""}, "run `hf download me/mine` once"),
        ({"TARGET_DOMAINS": ["{}"]}, "is no word for a kind of image"),
        ({"TARGET_DOMAINS": [], "SOURCE_DOMAINS": []}, "TARGET_DOMAINS are empty"),
        ({"TEMPLATES": "", "TARGET_DOMAINS": ["noon"]}, "no template list"),
        (without_attributes, "the template list 'drone' is empty"),
        ({"TEMPLATES": "no/file.json"}, "no/file.json: cannot read the templates"),
        ({"AVERAGING": "best"}, "AVERAGING is 'best'; it must be one of"),
        ({"ENCODER_DEVICE": "tpux"}, "ENCODER_DEVICE"),
    ],
)
def test_what_cannot_work_ends_in_one_line(build, tmp_path, keys, message):
    line = build(["road"], **(keys(tmp_path) if callable(keys) else keys))
    assert isinstance(line, str)
    assert line.startswith("error: ")
    assert message in line
    assert "\n" not in line


@pytest.mark.parametrize("names", [[""], [["car", ""]], [["car"], []], [3]])
def test_names_that_are_none(build, names):
    line = build(names)
    assert line.startswith("error: ")
    assert "MODEL.COPT.CLASS_NAMES" in line
    assert "\n" not in line


def test_the_ablations_of_templates_and_encoders_are_all_here():
    assert {path.stem.removeprefix("gta2cs_") for path in ABLATIONS} == {
        *("templates_hand_crafted", "templates_two_level", "templates_article"),
        *("encoder_normalized", "encoder_mistral_7b", "encoder_sentence_t5"),
    }


@pytest.mark.parametrize("path", [ROOT / "configs/gta2cs.yaml", *ABLATIONS], ids=lambda p: p.stem)
def test_ablations_build_their_banks(path, request, tmp_path, monkeypatch, empty_hub):
    """With random weights of the encoder's architecture, which the bank says."""
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cache"))
    cfg = load_config(str(path))
    copt = cfg.MODEL.COPT
    folder = request.getfixturevalue(STAND_INS[copt.ENCODER.partition(":")[0]])
    copt.ENCODER_WEIGHTS = str(folder)
    names = ["road", "traffic light", "bicycle"]
    bank = load_text_bank(ensure_text_bank(cfg, names), names)
    assert bank.shape[0] == 3
    assert len(torch.unique(bank, dim=0)) == 3
