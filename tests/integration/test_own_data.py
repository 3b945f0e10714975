"""Own data in one YAML: folders, a description, a training, an evaluation of its own config."""

import json

import in_process
import pytest
import yaml
from command_line import SMALL
from comparing import assert_same_run, differences, final_state
from own_drawings import draw, write_coco, write_description

from copt_d2.engine import UDATrainer

pytestmark = pytest.mark.integration

# the bank of the real encoder takes seconds to make
OPTIONS = SMALL | {
    **{f"INPUT.{kind}_RESIZE": 72 for kind in ("SOURCE", "TARGET", "TEST")},
    "INPUT.CROP.SIZE": "(64, 96)",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.UDA.FEATURE_LOSSES": "('FeatureDistanceLoss',)",
    "SOLVER.MAX_ITER": 3,
    "SOLVER.CHECKPOINT_PERIOD": 2,
    "SOLVER.IMAGE_PERIOD": 0,
}
del OPTIONS["DATASETS.TEST"], OPTIONS["TEST.EXPECTED_RESULTS"]
FEW = "target_labeled: {images: camera/few, masks: camera/few_ids, share: 0.5}\n"


def run(*arguments, **changes):
    """``train_net.py ARGUMENTS KEY VALUE ...``; keys with __ for dots."""
    options = OPTIONS | {key.replace("__", "."): value for key, value in changes.items()}
    pairs = [str(part) for pair in options.items() for part in pair]
    in_process.train_net.run([*map(str, arguments), *pairs])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "data set"  # with a space
    draw(folder)
    write_coco(folder / "sim" / "coco.json", folder / "sim" / "ids")
    return folder


@pytest.fixture
def file(data, tmp_path):
    """Writes a description in a folder of its own, with changes and a text behind it."""

    def write(form="ids", more="", **changes):
        folder = tmp_path / f"description_{form}"
        folder.mkdir(exist_ok=True)
        path = write_description(folder, form, **changes)
        path.write_text(f"root: '{data}'\n{path.read_text()}{more}")
        return path

    return write


def score(output):
    return json.loads((output / "evaluation" / "warehouse_val.json").read_text())


def test_from_folders_to_scores_and_again_from_the_stored_config(
    file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run(file())
    output = tmp_path / "output" / "warehouse"
    first = score(output)
    log = (output / "log.txt").read_text()
    assert "source: 6 masks of ids" in log
    stored = yaml.safe_load((output / "config.yaml").read_text())
    assert stored["DATASETS"]["FILE"] == str(file())
    assert stored["MODEL"]["SEM_SEG_HEAD"]["NUM_CLASSES"] == 4
    file().rename(tmp_path / "moved.yaml")
    in_process.train_net.run(["--config-file", str(output / "config.yaml"), "--eval-only"])
    again = score(output)
    assert again["mIoU"] == first["mIoU"]
    assert "is not there any more: its text in the config counts" in capsys.readouterr().out


def test_equal_labels_in_other_forms_train_alike(file, tmp_path):
    coco = {"masks: sim/coco": "coco: sim/coco.json", "val_coco": "val_ids"}
    for form, changes in (("ids", {}), ("colors", {}), ("coco", coco)):
        run(file(form, **changes), OUTPUT_DIR=tmp_path / form)
    expected = final_state(tmp_path / "ids")
    assert differences(expected, final_state(tmp_path / "colors")) == []
    assert differences(expected, final_state(tmp_path / "coco")) == []


def test_labelled_target_images_resume_bit_for_bit(file, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    path = file(more=FEW)
    run(path, OUTPUT_DIR=whole)
    step = UDATrainer.run_step

    def interrupted(self):
        if self.iter == 2:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(UDATrainer, "run_step", interrupted)
        with pytest.raises(SystemExit):
            run(path, OUTPUT_DIR=parts)
    run(path, "--resume", OUTPUT_DIR=parts)
    assert_same_run(whole, parts)
    assert final_state(whole)["data"]["target_labeled_share"] == 0.5


def test_source_only_on_the_same_file_has_a_folder_of_its_own(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(file(), "--source-only", SOLVER__MAX_ITER=1)
    output = tmp_path / "output" / "warehouse_source_only"
    stored = yaml.safe_load((output / "config.yaml").read_text())
    assert stored["MODEL"]["UDA"]["PHASES"] == ["source"]
    assert stored["INPUT"]["PHOTOMETRIC_DISTORTION"]
    assert not list(stored["MODEL"]["UDA"]["FEATURE_LOSSES"])
    assert score(output)["mIoU"] >= 0


def test_without_val_and_things_it_trains(file, tmp_path):
    path = file(**{", thing: true": ""})
    path.write_text(path.read_text().partition("val:")[0])
    run(path, OUTPUT_DIR=tmp_path / "run", SOLVER__MAX_ITER=1)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "nothing is scored" in log
    assert "goes without the feature distance" in log
    assert not (tmp_path / "run" / "evaluation").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "nowhere.yaml cannot be read"),
        (["{file}", "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "7"], "NUM_CLASSES is 7, but {file} says 4"),
        (["--config-file", "{file}"], "{file} is a description of data, no config"),
    ],
)
def test_mistakes_are_one_line(file, capsys, arguments, said):
    path = str(file())
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        in_process.train_net.run([part.format(file=path) for part in arguments])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said.format(file=path) in line
