"""Whole evaluations: conditions, sets without labels, prediction files, several processes."""

import json
import shutil
import socket
import zipfile

import cv2
import evaluating
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from evaluating import CONDITIONS, Reader, config_of, image_name, labels, predictions

from copt_d2.data.label_spaces import CAMVID, CITYSCAPES_CLASSES
from copt_d2.engine import check_config, evaluate
from copt_d2.engine.evaluation_record import SCENES_MARKER
from copt_d2.errors import InputError
from copt_d2.scenes.benchmark import MARKER

pytestmark = pytest.mark.integration

NAME, UNLABELLED = "drawn_adverse_val", "drawn_adverse_test"
COUNT = 7


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The folder that holds ``adverse``; not to be changed."""
    root = tmp_path_factory.mktemp("drawn")
    evaluating.draw_images(root, COUNT)
    return root


@pytest.fixture(autouse=True)
def registered(drawn, surroundings, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(drawn))
    evaluating.register(NAME, drawn, COUNT)
    evaluating.register(UNLABELLED, drawn, COUNT, labelled=False)
    yield
    for name in (NAME, UNLABELLED):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def record_of(cfg):
    name = cfg.DATASETS.TEST[0]
    evaluate(cfg, Reader().eval())
    with open(f"{cfg.OUTPUT_DIR}/evaluation/{name}.json") as file:
        return json.load(file)


def mean_iou(indices, classes=range(19)):
    """Percent, counted with sets of pixels instead of a confusion matrix."""
    found = np.concatenate([predictions(k).ravel() for k in indices])
    true = np.concatenate([labels(k).ravel() for k in indices])
    found, true = found[true != 255], true[true != 255]
    shares = []
    for k in classes:
        union = ((found == k) | (true == k)).sum()
        if union:
            shares.append(((found == k) & (true == k)).sum() / union)
    return 100 * np.mean(shares)


def of_condition(condition):
    return [k for k in range(COUNT) if CONDITIONS[k % 4] == condition]


def check_record(record):
    """Against counts made without the package."""
    assert record["labelled"] is True
    assert record["images"] == COUNT
    assert record["mIoU"] == pytest.approx(mean_iou(range(COUNT)), abs=1e-4)
    assert list(record["conditions"]) == list(CONDITIONS)
    for condition, part in record["conditions"].items():
        indices = of_condition(condition)
        assert part["images"] == len(indices)
        assert part["mIoU"] == pytest.approx(mean_iou(indices), abs=1e-4)
        assert list(part["IoU"]) == list(CITYSCAPES_CLASSES)
    mean = np.mean([part["mIoU"] for part in record["conditions"].values()])
    assert abs(record["mIoU"] - mean) > 0.5  # pixels are pooled
    sixteen = [k for k in range(19) if k not in (9, 14, 16)]
    thirteen = [k for k in sixteen if k not in (3, 4, 5)]
    expected = {
        **{"19": mean_iou(range(COUNT)), "16": mean_iou(range(COUNT), sixteen)},
        **{"13": mean_iou(range(COUNT), thirteen)},
    }
    assert record["means"] == pytest.approx(expected, abs=1e-4)


def test_record_of_a_set_with_conditions(tmp_path):
    record = record_of(config_of(NAME, tmp_path))
    check_record(record)
    assert record["generated_scenes"] is False
    assert not (tmp_path / "export").exists()


def test_means_stay_those_of_the_named_classes(tmp_path):
    cfg = config_of(NAME, tmp_path)
    cfg.TEST.CLASSES = [0, 13]
    record = record_of(cfg)
    assert record["classes_in_mean"] == ["road", "car"]
    assert record["mIoU"] == pytest.approx(mean_iou(range(COUNT), [0, 13]), abs=1e-4)
    assert record["means"]["19"] == pytest.approx(mean_iou(range(COUNT)), abs=1e-4)
    fog = record["conditions"]["fog"]["mIoU"]
    assert fog == pytest.approx(mean_iou(of_condition("fog"), [0, 13]), abs=1e-4)


def test_scores_of_conditions_can_be_expected_results(tmp_path):
    scores = evaluate(config_of(NAME, tmp_path), Reader().eval())[NAME]
    assert scores["mIoU-night"] == pytest.approx(mean_iou(of_condition("night")))
    assert all(isinstance(value, (int, float)) for value in scores.values())


def check_files(folder):
    """Exported train ids bit by bit, and the zips."""
    for index in range(COUNT):
        path = folder / "train_ids" / image_name(index)
        found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, predictions(index))
    names = [image_name(index) for index in range(COUNT)]
    with zipfile.ZipFile(folder / "acdc.zip") as archive:
        assert archive.namelist() == [f"labelTrainIds/{name}" for name in names]
        assert archive.testzip() is None
    with zipfile.ZipFile(folder / "dark_zurich.zip") as archive:
        assert len(archive.namelist()) == 3 * COUNT


FORMATS = ("train_ids", "acdc", "dark_zurich")


def test_export_beside_the_scores(tmp_path):
    check_record(record_of(config_of(NAME, tmp_path, FORMATS)))
    check_files(tmp_path / "export" / NAME)


def test_a_set_without_labels_is_exported_and_not_scored(tmp_path):
    cfg = config_of(UNLABELLED, tmp_path, FORMATS, pictures=2)
    check_config(cfg, training=False)
    record = record_of(cfg)
    assert record["labelled"] is False
    assert record["mIoU"] is None
    assert set(record["IoU"].values()) == {None}
    assert record["images"] == COUNT
    check_files(tmp_path / "export" / UNLABELLED)
    sheet = cv2.imread(str(tmp_path / "evaluation" / f"{UNLABELLED}.png"))
    assert sheet.shape[1] == 2 * 320 + 170  # no ground truth
    assert evaluate(cfg, Reader().eval()) == {UNLABELLED: {}}


def test_a_set_without_labels_and_nothing_to_export():
    with pytest.raises(InputError, match=f"^DATASETS.TEST: '{UNLABELLED}' .*set TEST.EXPORT"):
        check_config(config_of(UNLABELLED, "unused"), training=False)


def test_a_set_with_labels_for_some(drawn):
    def entries():
        return [
            {"file_name": "a.png", "sem_seg_file_name": "b.png"},
            {"file_name": "c.png"},
        ]

    evaluating.register_dataset(NAME, entries, evaluating.CITYSCAPES)
    with pytest.raises(InputError, match=rf"c\.png of '{NAME}' has no label file, others have"):
        check_config(config_of(NAME, "unused"), training=False)


@pytest.mark.parametrize(
    ("formats", "told"),
    [
        (("png",), "there is no format 'png'; choose from train_ids, color, cityscapes"),
        (("cityscapes",), "'cityscapes' is for images named {city}_{sequence}_{frame}, unlike"),
        (("color", "color"), "names a format twice"),
    ],
)
def test_wrong_formats_are_told_before_the_evaluation(formats, told):
    with pytest.raises(InputError, match=f"^TEST.EXPORT.*{told}"):
        check_config(config_of(NAME, "unused", formats), training=False)


def test_submissions_of_other_classes(drawn):
    evaluating.register_dataset(
        NAME, lambda: [{"file_name": "a", "sem_seg_file_name": "b"}], CAMVID
    )
    cfg = config_of(NAME, "unused", ("acdc",))
    cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = len(CAMVID.classes)
    with pytest.raises(
        InputError, match=r"^TEST\.EXPORT 'acdc' is for the 19 classes of Cityscapes"
    ):
        check_config(cfg, training=False)


def test_generated_scenes_are_recognised(drawn, tmp_path, monkeypatch):
    assert SCENES_MARKER == MARKER
    root = tmp_path / "sets"
    shutil.copytree(drawn, root)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    evaluating.register(NAME, root, COUNT)
    (root / "adverse" / MARKER).write_text("{}")
    assert record_of(config_of(NAME, tmp_path))["generated_scenes"] is True


def test_training_on_generated_scenes_is_recognised(drawn, tmp_path, monkeypatch):
    root = tmp_path / "sets"
    shutil.copytree(drawn, root)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    evaluating.register(NAME, root, COUNT)
    cfg = config_of(NAME, tmp_path)
    cfg.DATASETS.TRAIN = ("gta_sem_seg_train",)
    assert record_of(cfg)["generated_scenes"] is False
    (root / "gta").mkdir()
    (root / "gta" / MARKER).write_text("{}")
    assert record_of(cfg)["generated_scenes"] is True


def test_two_processes_share_an_evaluation(start, drawn, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "export" / NAME
    (folder / "acdc").mkdir(parents=True)
    (folder / "acdc" / "stale.png").write_text("of an earlier export")
    ranks = [
        start(evaluating.evaluate_as_rank, *(rank, port, NAME, drawn, COUNT, tmp_path, FORMATS))
        for rank in range(2)
    ]
    for process in ranks:
        process.join(120)
        assert process.exitcode == 0
    check_record(json.loads((tmp_path / "evaluation" / f"{NAME}.json").read_text()))
    check_files(folder)
    assert not (folder / "acdc" / "stale.png").exists()


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("image", [0, 5])
def test_nan_logits_end_the_evaluation(tmp_path, labelled, image):
    """Whatever looks at them first: the sheet, the score or the export."""

    class OnceNan(Reader):
        def forward(self, batch):
            (output,) = super().forward(batch)
            if batch[0]["file_name"].endswith(image_name(image)):
                output["sem_seg"][3, 2, 1] = float("nan")
            return [output]

    name = NAME if labelled else UNLABELLED
    cfg = config_of(name, tmp_path, () if labelled else ("train_ids",))
    with pytest.raises(InputError, match=rf"^the logits of \S*{image_name(image)} are NaN") as told:
        evaluate(cfg, OnceNan().eval())
    assert "\n" not in str(told.value)
    assert not list(tmp_path.glob("evaluation/*.json"))
