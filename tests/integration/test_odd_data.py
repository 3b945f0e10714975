"""Data as it comes off other systems: names that are no UTF-8, and cameras with 12 bits."""

import json
import os

import cv2
import pytest
import yaml

from copt_d2.data.reading import read_image
from copt_d2.engine.checkpointing import read_checkpoint

pytestmark = pytest.mark.integration

NO_UTF8 = os.fsdecode(b"stra\xdfe")  # as zips from Windows unpack


def test_names_that_are_no_utf8(train, own_data, tmp_path, capfd):
    for path in own_data.rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_{NO_UTF8}.png"))
    output = tmp_path / NO_UTF8
    changes = {
        **{"SOLVER__IMAGE_PERIOD": 1, "SOLVER__LOG_PERIOD": 1},
        **{"TEST__PICTURES": 2, "TEST__EXPORT": "('train_ids', 'color')"},
    }
    train(output, SOLVER__MAX_ITER=2, **changes)
    train(output, "--resume", SOLVER__MAX_ITER=3, **changes)
    record = json.loads((output / "evaluation/camvid_day_val.json").read_text())
    assert record["weights"]["path"].startswith(str(output))
    assert read_image(output / "evaluation/camvid_day_val.png").any()
    exported = list((output / "export/camvid_day_val/color").iterdir())
    assert len(exported) == len(list((own_data / "val").iterdir()))
    assert all(path.stem.endswith(NO_UTF8) for path in exported)
    lines = (output / "metrics.json").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [
        0,
        1,
        2,
        3,
    ]  # the last with the scores
    assert yaml.safe_load((output / "config.yaml").read_text())["OUTPUT_DIR"] == str(output)
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
    assert "TensorBoard cannot write to OUTPUT_DIR" in said.out
    log = (output / "log.txt").read_text()
    assert "pictures: " + str(output).encode(errors="backslashreplace").decode() in log


def test_a_camera_of_12_bits(train, own_data, tmp_path):
    """The validation frames are dark; evaluated alone, they have the bits of the training."""
    for path in (own_data / "train").glob("0001TP*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path)).astype("uint16") << 4)
    for path in (own_data / "val").iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path)).astype("uint16") << 1)
    output = tmp_path / "out"
    train(output, SOLVER__MAX_ITER=2)
    rows = [["camvid_dusk_train", 12], ["camvid_day_val", 12]]
    assert yaml.safe_load((output / "config.yaml").read_text())["INPUT"]["BIT_DEPTHS"] == rows
    stored = yaml.safe_load(read_checkpoint(output / "model_final.pth")["config"])
    assert stored["INPUT"]["BIT_DEPTHS"] == rows
    record = output / "evaluation/camvid_day_val.json"
    scores = json.loads(record.read_text())["IoU"]
    for path in (own_data / "train").glob("0001TP*.png"):
        path.unlink()  # alone, the dark frames would fit 10 bits
    record.unlink()
    train(output, "--eval-only", DATASETS__TARGET="()")
    assert json.loads(record.read_text())["IoU"] == scores
