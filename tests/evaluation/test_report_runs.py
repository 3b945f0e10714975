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
