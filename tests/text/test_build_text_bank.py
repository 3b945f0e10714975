import json

import pytest
import torch
from safetensors.torch import load_file

from copt_d2.modeling.text_bank import load_text_bank
from copt_d2.text import bank as bank_module


@pytest.fixture(scope="module")
def tool(load_tool):
    return load_tool("build_text_bank")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.yaml"
    names = ["road", "pavement", "sky"]
    copt = {"SOURCE_DOMAINS": ["day"], "TARGET_DOMAINS": ["dusk"], "CLASS_NAMES": names}
    path.write_text(json.dumps({"MODEL": {"COPT": copt}}))  # JSON is YAML
    return path


def test_command_line_writes_what_training_reads(tool, config, tmp_path, capsys):
    out = tmp_path / "bank.safetensors"
    tool.main(["--config-file", str(config), "--out", str(out), "--show"])
    bank = load_text_bank(out, ["road", "pavement", "sky"])
    assert bank.shape == (3, 384)
    printed = capsys.readouterr().out
    assert f"wrote {out}: 3 classes, 384 dimensions" in printed
    # row of "pavement": its correlation with road, itself and sky, worked out in float64
    centred = bank.double() - bank.double().mean(dim=1, keepdim=True)
    unit = centred / centred.norm(dim=1, keepdim=True)
    row = next(line for line in printed.splitlines() if "pavement" in line).split()
    assert row[:2] == ["1", "pavement"]
    assert row[2:] == [f"{value:.2f}" for value in unit @ unit[1]]


def test_overrides_of_the_command_line_count(
    tool, config, tmp_path, monkeypatch, word_count_encoder
):
    monkeypatch.setattr(bank_module, "build_encoder", lambda name: word_count_encoder)
    out = tmp_path / "bank.safetensors"
    overrides = ["MODEL.COPT.CLASS_NAMES", "['hen']", "MODEL.COPT.TARGET_DOMAINS", "()"]
    tool.main(["--config-file", str(config), "--out", str(out), *overrides])
    assert len(word_count_encoder.prompts) == 15
    assert load_file(out)["text_embeddings"].shape == (1, 3)


def test_one_class_has_a_table_too(tool):
    assert "1.00" in tool.similarity_table(torch.tensor([[1.0, 2.0, 4.0]]), ["road"])


def test_class_names_come_from_the_first_source_data_set(tool, text_cfg):
    from detectron2.data import MetadataCatalog

    MetadataCatalog.get("text_bank_test_set").set(stuff_classes=["hill", "sea"])
    try:
        text_cfg.DATASETS.TRAIN = ("text_bank_test_set", "other")
        assert tool.config_class_names(text_cfg) == ["hill", "sea"]
    finally:
        MetadataCatalog.remove("text_bank_test_set")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["MODEL.COPT.ENCODER", "word2vec"], "unknown text encoder 'word2vec'"),
        (["MODEL.COPT.SOURCE_DOMAINS", "('noon',)"], "no template list 'noon'"),
        (["MODEL.COPT.CLASS_NAMES", "[]"], "no class names"),
        (
            ["MODEL.COPT.CLASS_NAMES", "[]", "DATASETS.TRAIN", "('no_such_set',)"],
            "'no_such_set' is not registered",
        ),
    ],
)
def test_bad_config_ends_in_one_line(tool, config, tmp_path, overrides, message):
    with pytest.raises(SystemExit) as end:
        tool.main(["--config-file", str(config), "--out", str(tmp_path / "bank"), *overrides])
    assert message in end.value.code
    assert "\n" not in end.value.code


def test_missing_config_file_is_named(tool, tmp_path):
    with pytest.raises(SystemExit, match=r"no such config file: .*nowhere\.yaml"):
        tool.main(["--config-file", str(tmp_path / "nowhere.yaml"), "--out", "bank"])
