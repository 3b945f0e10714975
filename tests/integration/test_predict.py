"""A trained run is loaded and used; what it predicts is what the evaluation predicts."""

import json
import shutil
from pathlib import Path

import cv2
import in_process
import numpy as np
import predict
import pytest
import torch
from command_line import SMOKE
from PIL import Image
from safetensors.torch import save_file

import copt_d2
from copt_d2.data.label_spaces import CAMVID
from copt_d2.engine.checkpointing import read_checkpoint
from copt_d2.engine.network_file import read_network
from copt_d2.errors import InputError
from copt_d2.inference.sources import weights_file

pytestmark = pytest.mark.integration

OPTIONS = {
    **{"SOLVER__MAX_ITER": 4, "TEST__EXPORT": "('train_ids',)"},
    # a resize and overlapping windows, whose averages any other way of predicting would miss
    **{"INPUT__TEST_RESIZE": "(100, 70)", "TEST__WINDOW": "(48, 64)", "TEST__STRIDE": "(32, 40)"},
}


@pytest.fixture(scope="module")
def run(arguments, camvid, cache, tmp_path_factory):
    """Output folder of a run with its exported predictions; not to be changed."""
    output = tmp_path_factory.mktemp("predicting") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(camvid))
        patch.setenv("COPT_D2_CACHE", str(cache))
        in_process.train_net.run(arguments(output, **OPTIONS))
    return output


@pytest.fixture(scope="module")
def exported(run, camvid):
    """(image file, train ids of the evaluation) pairs."""
    files = {path.stem: path for path in (camvid / "camvid").rglob("*.png")}
    folder = run / "export" / "camvid_day_val" / "train_ids"
    return [(files[path.stem], path) for path in sorted(folder.glob("*.png"))]


@pytest.mark.parametrize("kind", ["folder", "checkpoint", "network"])
def test_predictions_are_the_evaluations(run, exported, kind):
    model = copt_d2.load_model(
        {
            "folder": run,
            "checkpoint": str(run / "model_0000004.pth"),
            "network": run / "model_final.safetensors",
        }[kind],
        device="cpu",
    )
    assert len(exported) > 2
    for file, train_ids in exported[:3]:
        expected = cv2.imread(str(train_ids), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(model.predict(file).mask, expected)
    assert model.classes == CAMVID.classes
    assert model.palette == CAMVID.palette


def test_result_of_every_kind_of_image(run, exported, tmp_path):
    model = copt_d2.load_model(run, device="cpu")
    file = exported[0][0]
    array = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    results = model.predict([str(file), Image.open(file), array])
    assert [np.array_equal(r.mask, results[0].mask) for r in results] == [True] * 3
    assert [np.array_equal(r.confidence, results[0].confidence) for r in results] == [True] * 3
    result = results[0]
    assert result.mask.dtype == np.uint8
    assert result.mask.shape == array.shape[:2]
    assert result.confidence.dtype == np.float32
    # the largest of 11 probabilities
    assert 1 / 11 <= result.confidence.min() <= result.confidence.max() <= 1
    assert list(result.shares) == list(CAMVID.classes)
    assert sum(result.shares.values()) == pytest.approx(1)
    assert result.overlay().size == array.shape[1::-1]
    result.save(tmp_path / "out.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "out.png")), np.array(result.overlay()))
    with pytest.raises(InputError, match=r"no such folder/out.png cannot be written"):
        result.save(tmp_path / "no such folder" / "out.png")


def test_several_at_once(run, exported):
    model = copt_d2.load_model(run, device="cpu")
    pictures = [(cv2.imread(str(file))[..., ::-1].copy(), str(file)) for file, _ in exported[:3]]
    together = list(model.predict_batch(pictures))
    for picture, result in zip(pictures, together, strict=True):
        assert (result.mask == model.predict(picture[0]).mask).mean() > 0.999
    shapes = [r.mask.shape for r in model.predict_batch([pictures[0], (pictures[1][0][:50], "x")])]
    assert shapes == [pictures[0][0].shape[:2], (50, pictures[1][0].shape[1])]


def test_the_teacher_is_another_network(run, exported):
    student, teacher = (
        copt_d2.load_model(run, device="cpu", part=p) for p in ("student", "teacher")
    )
    first, second = (model.predict(exported[0][0]).confidence for model in (student, teacher))
    assert not np.array_equal(first, second)
    with pytest.raises(InputError, match="it has no teacher"):
        copt_d2.load_model(run / "model_final.safetensors", part="teacher")


def test_weights_without_a_config(run, exported, tmp_path):
    state = read_network(run / "model_final.safetensors")
    save_file(state["model"], tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match=r"bare\.safetensors holds no config"):
        copt_d2.load_model(tmp_path / "bare.safetensors")
    (tmp_path / "config.yaml").write_text(state["config"])
    model = copt_d2.load_model(
        tmp_path / "bare.safetensors", config=tmp_path / "config.yaml", device="cpu"
    )
    expected = cv2.imread(str(exported[0][1]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(model.predict(exported[0][0]).mask, expected)
    assert model.classes == CAMVID.classes
    with pytest.raises(InputError, match="is of another architecture or class count"):
        copt_d2.load_model(tmp_path / "bare.safetensors", config=SMOKE, device="cpu")


def test_checkpoints_of_older_and_later_versions(run, exported, tmp_path):
    state = read_checkpoint(run / "model_0000004.pth")
    text = state["config"].replace("MODEL:\n", "MODEL:\n  KEY_OF_ANOTHER_VERSION: 3\n", 1)
    text = text.replace("  WINDOW_BATCH:", "  WINDOW_BATCHES:")
    older = {k: v for k, v in state.items() if k not in ("format", "classes", "colors", "words")}
    path = tmp_path / "model_0000004.pth"
    torch.save({**older, "config": text}, path)
    model = copt_d2.load_model(tmp_path, device="cpu")
    assert model.classes == CAMVID.classes  # of the data sets that the config names
    expected = cv2.imread(str(exported[0][1]), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(model.predict(exported[0][0]).mask, expected)
    torch.save({**state, "format": 99}, path)
    with pytest.raises(InputError, match="has the format 99"):
        copt_d2.load_model(path)
    torch.save({**state, "config": "MODEL: 3"}, path)
    with pytest.raises(InputError, match=r"the config in .*0000004\.pth cannot be read"):
        copt_d2.load_model(path)
    torch.save({**state, "colors": [[1, 2]]}, path)
    with pytest.raises(InputError, match="is damaged: its colours or things are not those"):
        copt_d2.load_model(path)


def test_a_folder_gives_its_newest_checkpoint(run, tmp_path):
    assert weights_file(run) == run / "model_final.safetensors"
    assert weights_file(run, "teacher") == run / "model_0000004.pth"
    shutil.copytree(run, tmp_path / "run")
    newer = tmp_path / "run" / "model_0000005.pth"  # of a run that goes on
    newer.touch()
    assert weights_file(tmp_path / "run") == newer
    for path in Path(tmp_path / "run").glob("model_0*"):
        path.unlink()
    assert weights_file(tmp_path / "run") == tmp_path / "run" / "model_final.pth"
    with pytest.raises(InputError, match=r"holds no checkpoint .*; its runs are run: name one"):
        weights_file(tmp_path)


def test_the_command_line(run, exported, tmp_path, capsys):
    folder, out = tmp_path / "frames", tmp_path / "out"
    for file, _ in exported[:3]:
        (folder / "sub").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, folder / "sub")
    argv = [str(run), str(folder), "--out", str(out), "--device", "cpu"]
    predict.main([*argv, "--save", "ids,overlay", "--coco", str(tmp_path / "coco.json")])
    for file, train_ids in exported[:3]:
        written = cv2.imread(str(out / "ids" / "sub" / file.name), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(written, cv2.imread(str(train_ids), cv2.IMREAD_UNCHANGED))
        assert (out / "overlay" / "sub" / file.name).is_file()
    assert "3 predicted, " in capsys.readouterr().out
    assert len(json.loads((tmp_path / "coco.json").read_text())["images"]) == 3
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.raises(SystemExit) as ended:
        predict.main([*argv, "--part", "teacher", "--batch", "2", "--half"])
    said = capsys.readouterr()
    assert ended.value.code == 1
    assert "3 predicted" in said.out
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert "broken.png cannot be decoded" in errors[0]
    assert errors[1:] == ["error: 1 could not be predicted, see above"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch", "0"], "--batch 0: give a number of 1 or more"),
        (["--ignore-below", "nan"], "--ignore-below nan: give a probability"),
        (["--save", "masks"], "--save masks: there is no 'masks'"),
        (["--show"], "--show needs a screen"),
        (["--part", "friend"], "MODEL.WEIGHTS_PART is 'friend'; choose from"),
        (["--device", "tpu"], "device 'tpu' cannot be used"),
    ],
)
def test_wrong_flags(run, exported, capsys, flags, words):
    with pytest.raises(SystemExit) as ended:
        predict.main([str(run), str(exported[0][0]), *flags])
    said = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert len(said) == 1
    assert said[0].startswith(f"error: {words}")
