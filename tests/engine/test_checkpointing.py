import os

import pytest
import torch
from torch import nn

from copt_d2.engine.checkpointing import (
    TrainingCheckpointer,
    read_checkpoint,
    write_checkpoint,
)
from copt_d2.engine.run_state import rank_buffers
from copt_d2.errors import InputError

EMPTY = {"optimizer": {}, "scheduler": {}, "data": {}, "config": ""}
STATE = {"model": {"weight": torch.arange(300.0)}, **EMPTY}


def write(checkpointer, *iterations):
    for iteration in iterations:
        checkpointer.save(STATE, {"buffers": {}}, iteration)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


class Killed(BaseException):
    """Like a kill, it passes by every handler of errors."""


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_killed_before_the_name_is_given(monkeypatch, tmp_path, moment):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(STATE, path)
    first = path.read_bytes()

    def kill(*_args):
        raise Killed

    monkeypatch.setattr(os, moment, kill)
    with pytest.raises(Killed):
        write_checkpoint({"model": {"weight": torch.ones(300)}}, path)
    assert path.read_bytes() == first


def test_content_is_on_the_disk_before_the_name_is_given(monkeypatch, tmp_path):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (calls.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *args: (calls.append("replace"), replace(*args)))
    write_checkpoint(STATE, tmp_path / "model_0000001.pth")
    assert calls == ["fsync", "replace", "fsync"]  # the last one is the folder's


def test_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(STATE, path)
    first = path.read_bytes()
    path.with_name(path.name + ".tmp").mkdir()  # nothing can be written there
    with pytest.raises(InputError, match=r"cannot be written .*earlier checkpoints are intact"):
        write_checkpoint(STATE, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file(tmp_path, share):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(STATE, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=f"checkpoint {path} cannot be read"):
        read_checkpoint(path)


def test_one_flipped_bit_in_a_tensor(tmp_path):
    path = tmp_path / "model_0000001.pth"
    write_checkpoint(STATE, path)
    data = bytearray(path.read_bytes())
    position = data.find(torch.arange(100.0, 110.0).numpy().tobytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(path)


def test_file_that_holds_no_named_tensors(tmp_path):
    torch.save([torch.ones(3)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="holds a list, not named tensors"):
        read_checkpoint(tmp_path / "list.pth")


def test_the_last_two_are_kept(tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 5, 10, 15)
    assert names(tmp_path) == ["model_0000010.pth", "model_0000015.pth"]
    assert checkpointer.load_latest()["iteration"] == 15


def test_old_ones_go_after_the_new_one_is_there(monkeypatch, tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 5, 10)

    def fail(*_args):
        raise OSError("disk is gone")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="disk is gone"):
        write(checkpointer, 15)
    assert names(tmp_path) == ["model_0000005.pth", "model_0000010.pth"]


def test_damaged_later_file_does_not_push_out_good_ones(tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 10, 20)
    checkpointer.path(20).write_bytes(b"damaged")
    assert checkpointer.load_latest()["iteration"] == 10
    write(checkpointer, 15)
    assert names(tmp_path) == ["model_0000010.pth", "model_0000015.pth"]


def test_all_damaged(tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 10, 20)
    for path in checkpointer.files():
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="none of the 2 checkpoints"):
        checkpointer.load_latest()


def test_no_checkpoint(tmp_path):
    (tmp_path / "model_final.pth").write_bytes(b"")
    (tmp_path / "model_0000001.pth.tmp").write_bytes(b"")
    checkpointer = TrainingCheckpointer(tmp_path)
    assert checkpointer.load_latest() is None
    checkpointer.remove_unfinished()
    assert names(tmp_path) == ["model_final.pth"]


def test_final_name_without_hard_links(monkeypatch, tmp_path):
    def no_links(*_args):
        raise OSError("not supported")

    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 4)
    monkeypatch.setattr(os, "link", no_links)
    checkpointer.link_final(4)
    assert read_checkpoint(tmp_path / "model_final.pth")["iteration"] == 4
    assert names(tmp_path) == ["model_0000004.pth", "model_final.pth"]


def test_an_evaluated_folder_is_no_earlier_run(tmp_path):
    (tmp_path / "evaluation").mkdir()
    TrainingCheckpointer(tmp_path).set_aside_earlier_run()
    assert names(tmp_path) == ["evaluation"]


def test_earlier_runs_get_folders_of_their_own(tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    for number in (1, 2):
        write(checkpointer, number)
        (tmp_path / "metrics.json").write_text(str(number))
        checkpointer.set_aside_earlier_run()
    assert names(tmp_path) == ["previous_1", "previous_2"]
    assert (tmp_path / "previous_2" / "metrics.json").read_text() == "2"
    assert names(tmp_path / "previous_1") == ["metrics.json", "model_0000001.pth"]


def test_only_saved_buffers_belong_to_a_rank():
    model = nn.BatchNorm2d(3)
    model.register_buffer("constant", torch.ones(1), persistent=False)
    assert set(rank_buffers(model)) == {"running_mean", "running_var", "num_batches_tracked"}
