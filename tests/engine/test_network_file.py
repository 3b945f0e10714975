"""The student alone, in a file that says what it is."""

import pytest
import torch
from detectron2.config import get_cfg
from safetensors.torch import save_file
from torch import nn

from copt_d2 import add_copt_config
from copt_d2.data.label_spaces import CAMVID
from copt_d2.engine import load_student_weights
from copt_d2.engine.network_file import read_network, write_network
from copt_d2.errors import InputError


@pytest.fixture
def cfg(tmp_path):
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.DATASETS.TRAIN = ("camvid_day_train",)
    cfg.DATASETS.TEST = ("camvid_day_val",)
    cfg.OUTPUT_DIR = str(tmp_path)
    return cfg


def test_what_is_written_is_read(cfg, tmp_path):
    network = nn.Linear(3, 2)
    network.weight.data = network.weight.data.t().contiguous().t()  # a view
    write_network(cfg, network, 7)
    path = tmp_path / "model_final.safetensors"
    state = read_network(path)
    assert (state["format"], state["iteration"], state["config"]) == (2, 7, cfg.dump())
    assert state["classes"] == list(CAMVID.classes)
    assert state["colors"] == [list(color) for color in CAMVID.palette]
    assert state["words"] == [[name] for name in CAMVID.classes]
    assert state["things"] == [6, 8, 9, 10]
    assert torch.equal(state["model"]["weight"], network.weight)
    target = nn.Linear(3, 2)
    assert load_student_weights(target, str(path), cfg) == 7
    assert torch.equal(target.bias, network.bias)
    cfg.DATASETS.TEST = ("cityscapes_fine_sem_seg_val",)  # names are compared
    with pytest.raises(InputError, match="has 19 classes and the checkpoint"):
        load_student_weights(target, str(path), cfg)


def test_equal_networks_give_equal_bytes(cfg, tmp_path):
    path, contents = tmp_path / "model_final.safetensors", set()
    for _ in range(4):
        write_network(cfg, nn.BatchNorm2d(2), 1)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_files_of_others_and_damaged_metadata(tmp_path):
    tensors = {"weight": torch.ones(2)}
    save_file(tensors, tmp_path / "other.safetensors", {"format": "pt"})
    assert read_network(tmp_path / "other.safetensors").keys() == {"weight"}
    save_file(tensors, tmp_path / "ours.safetensors", {"format": "2", "config": "", "classes": "["})
    with pytest.raises(InputError, match=r"ours\.safetensors: what it says of its classes"):
        read_network(tmp_path / "ours.safetensors")


def test_a_folder_that_cannot_be_written(cfg, tmp_path):
    (tmp_path / "model_final.safetensors.tmp").mkdir()
    with pytest.raises(InputError, match=r"model_final\.safetensors cannot be written"):
        write_network(cfg, nn.Linear(1, 1), 1)
