import json

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from copt_d2.errors import InputError
from copt_d2.modeling.text_bank import load_text_bank
from copt_d2.text import bank as bank_module
from copt_d2.text.similarity import draw_similarity, similarity_table


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
    assert f"drawn in {tmp_path / 'bank.png'}" in printed
    assert Image.open(tmp_path / "bank.png").size[0] > 300


def test_many_classes_have_a_table_of_neighbours():
    rows = torch.randn(31, 6)
    rows[30] = rows[4] + 1e-3 * torch.randn(6)
    names = [f"class{k}" for k in range(31)]
    lines = similarity_table(rows, names).splitlines()
    assert lines[2 + 4].split()[:4] == ["4", "class4", "class30", "1.00"]
    assert all(len(line.split()) == 12 for line in lines[2:])
    assert len(similarity_table(rows[:30], names[:30]).splitlines()[2].split()) == 32


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere/b\.png: cannot write the picture"):
        draw_similarity(torch.randn(3, 4), ["a", "b", "c"], tmp_path / "nowhere" / "b.png")


def test_overrides_of_the_command_line_count(
    tool, config, tmp_path, monkeypatch, word_count_encoder
):
    monkeypatch.setattr(bank_module, "build_encoder", lambda *arguments: word_count_encoder)
    out = tmp_path / "bank.safetensors"
    overrides = ["MODEL.COPT.CLASS_NAMES", "['hen']", "MODEL.COPT.TARGET_DOMAINS", "()"]
    tool.main(["--config-file", str(config), "--out", str(out), *overrides])
    assert len(word_count_encoder.prompts) == 15
    assert load_file(out)["text_embeddings"].shape == (1, 3)


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
        (
            ["DATASETS.TRAIN", "('camvid_day_train',)", "DATASETS.TEST", "('gta_sem_seg_train',)"],
            "gta_sem_seg_train in DATASETS.TEST has 19 classes and camvid_day_train in",
        ),
        (["MODEL.COPT.CLASS_NAMES", "['road', 'sky', 'Road']"], "'Road' of class 2 are one name"),
        (["MODEL.COPT.CLASS_NAMES", "['road', 'รถ', 'บ้าน']"], "'รถ', 'บ้าน' are equal"),
    ],
)
def test_bad_config_ends_in_one_line(tool, config, tmp_path, overrides, message):
    with pytest.raises(SystemExit) as end:
        tool.main(["--config-file", str(config), "--out", str(tmp_path / "bank"), *overrides])
    assert message in end.value.code
    assert "\n" not in end.value.code


def test_the_picture_does_not_take_the_place_of_the_bank(tool, config, tmp_path):
    out = tmp_path / "bank.png"
    with pytest.raises(SystemExit, match=r"bank\.png is where --show draws"):
        tool.main(["--config-file", str(config), "--out", str(out), "--show"])
    assert not out.exists()


def test_names_that_do_not_match_the_data_set_are_refused_with_both(tool, tmp_path):
    path = tmp_path / "two.yaml"
    copt = {"SOURCE_DOMAINS": ["day"], "CLASS_NAMES": ["hill", "sea"]}
    path.write_text(
        json.dumps({"MODEL": {"COPT": copt}, "DATASETS": {"TRAIN": ["camvid_day_train"]}})
    )
    with pytest.raises(SystemExit, match=r"CLASS_NAMES has 2 .*data set has 11: .*'hill'.*'sky'"):
        tool.main(["--config-file", str(path), "--out", str(tmp_path / "bank")])


def test_missing_config_file_is_named(tool, tmp_path):
    with pytest.raises(SystemExit, match=r"no such config file: .*nowhere\.yaml"):
        tool.main(["--config-file", str(tmp_path / "nowhere.yaml"), "--out", "bank"])
