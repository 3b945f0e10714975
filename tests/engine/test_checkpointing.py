import errno
import io
import os
import stat
import zipfile
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from copt_d2.engine import checkpointing
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
    (tmp_path / "model_final.safetensors.tmp").write_bytes(b"")
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
        (tmp_path / "model_final.safetensors").write_bytes(b"")
        checkpointer.set_aside_earlier_run()
    assert names(tmp_path) == ["previous_1", "previous_2"]
    assert (tmp_path / "previous_2" / "metrics.json").read_text() == "2"
    assert names(tmp_path / "previous_1") == [
        *("metrics.json", "model_0000001.pth", "model_final.safetensors")
    ]


def test_only_saved_buffers_belong_to_a_rank():
    model = nn.BatchNorm2d(3)
    model.register_buffer("constant", torch.ones(1), persistent=False)
    assert set(rank_buffers(model)) == {"running_mean", "running_var", "num_batches_tracked"}


def test_a_finished_run_that_is_resumed_leaves_one_final_name(tmp_path):
    """Two names of one file: to rename one to the other does nothing."""
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 4)
    for _ in range(2):
        checkpointer.link_final(4)
        assert names(tmp_path) == ["model_0000004.pth", "model_final.pth"]
    write(checkpointer, 6)
    checkpointer.link_final(6)
    assert read_checkpoint(tmp_path / "model_final.pth")["iteration"] == 6
    assert names(tmp_path) == ["model_0000004.pth", "model_0000006.pth", "model_final.pth"]


def a_folder(path):
    path.mkdir()
    (path / "precious").write_text("of somebody else")


def another_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing of torch")


def damaged_directory(method):
    """The bytes are whole, but the list of the archive says that they are compressed."""

    def damage(path):
        data = bytearray(path.read_bytes())
        entry = data.index(b"PK\x01\x02")
        while entry >= 0:
            data[entry + 10 : entry + 12] = method.to_bytes(2, "little")
            entry = data.find(b"PK\x01\x02", entry + 1)
        start = data.index(b"PK\x03\x04")
        while start >= 0:
            data[start + 8 : start + 10] = method.to_bytes(2, "little")
            start = data.find(b"PK\x03\x04", start + 1)
        path.write_bytes(data)

    return damage


FOREIGN = {
    "folder": a_folder,
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
    "another archive": another_archive,
    "deflated": damaged_directory(zipfile.ZIP_DEFLATED),
    "bzip2": damaged_directory(zipfile.ZIP_BZIP2),
    "lzma": damaged_directory(zipfile.ZIP_LZMA),
    "unknown method": damaged_directory(99),
    "link to nothing": lambda path: path.symlink_to("nowhere.pth"),
    "pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_only_has_the_name_of_a_checkpoint(tmp_path, caplog, kind):
    """One line says so, the one before counts, and the next ones push nothing foreign out."""
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 4, 6)
    path = checkpointer.path(6)
    if kind in ("folder", "link to nothing", "pipe"):
        path.unlink()
    FOREIGN[kind](path)
    assert checkpointer.load_latest()["iteration"] == 4
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    assert "\n" not in warnings[0]
    write(checkpointer, 5, 7, 8)
    ours = {"model_0000007.pth", "model_0000008.pth"}
    assert set(names(tmp_path)) == (ours | {path.name} if kind == "folder" else ours)


def test_one_that_may_not_be_read(tmp_path, monkeypatch, caplog):
    """Root may read everything, so the system's answer is given here."""
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 4, 6)
    is_zipfile = zipfile.is_zipfile

    def answer(path):
        if path.name == "model_0000006.pth":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return is_zipfile(path)

    monkeypatch.setattr(zipfile, "is_zipfile", answer)
    assert checkpointer.load_latest()["iteration"] == 4
    assert "Permission denied" in caplog.text


def test_a_folder_with_the_name_of_the_next_one(tmp_path):
    checkpointer = TrainingCheckpointer(tmp_path)
    write(checkpointer, 4)
    checkpointer.path(6).mkdir()
    with pytest.raises(InputError, match=r"0006\.pth cannot be written \(Is a directory\)"):
        write(checkpointer, 6)
    assert checkpointer.load_latest()["iteration"] == 4
    (tmp_path / "model_0000009.pth.tmp").mkdir()
    checkpointer.remove_unfinished()
    assert (tmp_path / "model_0000009.pth.tmp").is_dir()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_folders_that_cannot_be_flushed(tmp_path, monkeypatch, number):
    """Some network file systems."""
    fsync = os.fsync

    def only_files(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    write_checkpoint(STATE, tmp_path / "model_0000001.pth")
    assert names(tmp_path) == ["model_0000001.pth"]


def test_folders_that_cannot_be_opened(tmp_path, monkeypatch):
    """Windows."""
    system_open = os.open

    def only_files(path, *args):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return system_open(path, *args)

    monkeypatch.setattr(os, "open", only_files)
    write_checkpoint(STATE, tmp_path / "model_0000001.pth")
    assert names(tmp_path) == ["model_0000001.pth"]


def test_a_broken_disk_is_told(tmp_path, monkeypatch):
    def broken(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(InputError, match=r"cannot be written \(Input/output error\): look at "):
        write_checkpoint(STATE, tmp_path / "model_0000001.pth")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_in_plain_words(tmp_path, monkeypatch, number):
    """In the middle of torch's own writing, which would tell of its C++."""
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: usage)

    class Disk(io.FileIO):
        def write(self, data):
            if self.tell() + len(data) > 1000:
                raise OSError(number, os.strerror(number))
            return super().write(data)

    monkeypatch.setattr(
        checkpointing, "open", lambda path, *_, **__: Disk(path, "w"), raising=False
    )
    twice = torch.arange(300.0)
    with pytest.raises(InputError) as full:
        write_checkpoint({"a": twice, "b": [twice[:5], {"c": 1}]}, tmp_path / "model_0000001.pth")
    assert str(full.value) == (
        f"checkpoint {tmp_path}/model_0000001.pth cannot be written ({os.strerror(number)}): it "
        f"needs 1200 bytes, and 1000 are free in {tmp_path}; free space and go on with --resume; "
        "earlier checkpoints are intact"
    )
    assert names(tmp_path) == []
