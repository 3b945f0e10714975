import json

import pytest
from report_files import config, record, write_run

from copt_d2.errors import InputError
from copt_d2.evaluation.report import read_runs
from copt_d2.evaluation.report.runs import method_of
from copt_d2.evaluation.report.scores import group_repetitions


@pytest.mark.parametrize(
    "method",
    [
        *("source-only", "DAFormer", "HRDA", "MIC (DAFormer)", "MIC (HRDA)", "CoPT"),
        *("CoPT (DAFormer)", "HRDA+CoPT", "DAFormer+CoPT"),
    ],
)
def test_methods_are_recognised(method, tmp_path):
    (found,) = read_runs([write_run(tmp_path / "run", config(method=method), record())])
    assert found.method == method


def test_another_encoder_is_another_method():
    flat = {"MODEL.UDA.PHASES": ["source"], "MODEL.BACKBONE.NAME": "build_timm_backbone"}
    assert method_of({**flat, "MODEL.TIMM.NAME": "resnet50"}) == "source-only, resnet50"
    flat = {"MODEL.UDA.PHASES": ["source", "mixed"], "MODEL.MIT.VARIANT": "b0"}
    assert method_of(flat) == "DAFormer without feature distance, MiT-B0"
    assert method_of({"MODEL.UDA.PHASES": ["source", "masked"]}).startswith("phases masked, source")


def test_repetitions_differ_in_the_seed_alone(tmp_path):
    settings = [config(seed=0), config(seed=1), config(seed=0, MODEL__COPT__DECAY=0.9)]
    folders = [
        write_run(tmp_path / f"run{k}", content, record()) for k, content in enumerate(settings)
    ]
    folders.append(write_run(tmp_path / "run3", config(seed=2), record(iteration=4000)))
    groups = group_repetitions(read_runs(folders))
    assert [group.names for group in groups] == ["2 runs: run0, run1", "run2", "run3"]
    assert groups[2].measurements[0].unfinished == "iteration 4000 of 40000"


def test_a_folder_counts_once(tmp_path):
    run = write_run(tmp_path / "run", config(), record())
    assert len(read_runs([run, tmp_path / "x" / ".." / "run"])) == 1


def test_an_evaluation_without_training(tmp_path):
    run = write_run(tmp_path / "run", config(), record())
    (run / "config.yaml").rename(run / "config_of_evaluation.yaml")
    assert read_runs([run])[0].method == "CoPT"


def spoil(file, text):
    return lambda run: (run / file).write_text(text)


RECORD = "evaluation/cityscapes_fine_sem_seg_val.json"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (spoil(RECORD, '{"dataset": '), rf"{RECORD} is damaged .*evaluate the run again"),
        (spoil(RECORD, "[]"), rf"{RECORD} is no evaluation record \(it is no JSON object\)"),
        (spoil(RECORD, '{"dataset": "x", "IoU": {}}'), r"\(without mIoU\)"),
        (
            spoil(RECORD, json.dumps({"dataset": "x", "mIoU": "7", "IoU": {}})),
            r"\(a score is no number\)",
        ),
        (
            spoil(RECORD, json.dumps({**record(), "conditions": {"fog": 3}})),
            r"\(IoU is no JSON object\)",
        ),
        (
            spoil(RECORD, json.dumps({**record(), "weights": ["model_final.pth"]})),
            r"\(weights is no JSON object with a path\)",
        ),
        (
            spoil(RECORD, json.dumps({**record(), "weights": {"digest": 7}})),
            r"\(weights has a digest or a part that is no text\)",
        ),
        (
            spoil(RECORD, json.dumps({**record(), "iteration": "40000"})),
            r"\(iteration is no number\)",
        ),
        (spoil(RECORD, "[" * 100_000), r"is damaged \(maximum recursion"),
        (spoil("config.yaml", "a: [1"), r"config\.yaml is damaged"),
        (spoil("config.yaml", "text"), r"config\.yaml is damaged \(no config keys\)"),
        (lambda run: (run / "config.yaml").unlink(), r"run holds no config\.yaml"),
        (lambda run: (run / RECORD).unlink(), r"run holds no evaluation/\*\.json: evaluate"),
    ],
)
def test_damaged_runs(tmp_path, change, told):
    run = write_run(tmp_path / "run", config(), record())
    change(run)
    with pytest.raises(InputError, match=told) as raised:
        read_runs([run])
    assert "\n" not in str(raised.value)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="absent is no folder: name the OUTPUT_DIR of a run"):
        read_runs([tmp_path / "absent"])


def weights(path, part="student"):
    return {"path": path, "digest": "sha256-of-tensors:" + 64 * "a", "part": part}


@pytest.mark.parametrize(
    ("path", "foreign"),
    [
        *((None, False), ("{run}/model_final.pth", False), ("{run}/model_0040000.pth", False)),
        ("output/0/model_0040000.pth", False),  # the OUTPUT_DIR of then: the run has moved
        ("/disk/output/0/model_0040000.pth", False),
        *(("output/1/model_0040000.pth", True), ("elsewhere/0/model_final.pth", True)),
        *(("{run}/downloaded.pth", True), ("weights.safetensors", True)),
    ],
)
@pytest.mark.parametrize("key", ["checkpoint", "weights"])
def test_a_record_of_weights_that_the_run_did_not_make(tmp_path, path, foreign, key):
    path = path and path.format(run=tmp_path / "run")
    fields = {"checkpoint": path} | ({"weights": weights(path)} if key == "weights" else {})
    run = write_run(tmp_path / "run", config(), record(**fields))
    assert read_runs([run])[0].is_other == foreign
    # a folder without a training has no weights of its own
    (run / "config.yaml").rename(run / "config_of_evaluation.yaml")
    assert not read_runs([run])[0].is_other


def test_a_teacher_is_no_student(tmp_path):
    fields = {"weights": weights("output/0/model_final.pth", "teacher")}
    run = write_run(tmp_path / "run", config(), record(**fields))
    assert read_runs([run])[0].is_other
    (run / "config.yaml").rename(run / "config_of_evaluation.yaml")
    assert read_runs([run])[0].method == "CoPT, teacher"


@pytest.mark.parametrize(("done", "unfinished"), [(39999, True), (40000, False), (None, False)])
def test_the_last_step_makes_a_run_finished(tmp_path, done, unfinished):
    run = write_run(tmp_path / "run", config(), record(iteration=done))
    assert bool(read_runs([run])[0].unfinished) == unfinished


def test_other_evaluations_have_their_own_config(tmp_path):
    run = write_run(tmp_path / "run", config(), record())
    other = write_run(tmp_path / "scratch", config(MODEL__MIT__VARIANT="b0"), record(mean=1.0))
    place = run / "evaluation" / "other" / "x_student_12345678"
    (other / "evaluation").rename(place.parent)
    place.mkdir()
    for file in place.parent.glob("*.json"):
        file.rename(place / file.name)
    with pytest.raises(InputError, match=r"12345678 holds no config_of_evaluation\.yaml"):
        read_runs([run])
    (other / "config.yaml").rename(place / "config_of_evaluation.yaml")
    own, found = read_runs([run])
    assert (own.is_other, own.record["mIoU"]) == (False, 70.0)
    assert (found.is_other, found.record["mIoU"], found.method) == (True, 1.0, "CoPT, MiT-B0")
