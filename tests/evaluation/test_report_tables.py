"""Reports of synthetic runs, cell by cell."""

import pytest
from report_files import BENCHMARKS, config, named, record, table_of, tables, write_run

from copt_d2.data.label_spaces import CITYSCAPES_16, CITYSCAPES_CLASSES
from copt_d2.evaluation.report import build_report, read_runs

DARK_ZURICH, ACDC = "dark_zurich_sem_seg_val", "acdc_sem_seg_val"


@pytest.fixture
def report(tmp_path):
    """The report of runs given as (config, record)."""

    def build(*runs):
        folders = [
            write_run(tmp_path / f"run{k}", settings, content)
            for k, (settings, content) in enumerate(runs)
        ]
        return build_report(read_runs(folders))

    return build


def test_gta_beside_the_paper(report):
    rows = table_of(report((config(), record(mean=75.0, iou={"train": 80.06, "bus": None}))), 1)
    assert rows[0] == ["method", "numbers of", *CITYSCAPES_CLASSES, "mIoU"]
    (printed,) = named(rows, "CoPT", "paper")
    assert rows[printed][2:5] == ["97.6", "80.9", "91.6"]
    ours, difference = rows[printed + 1 : printed + 3]
    assert ours[:4] == ["CoPT", "ours: run0", "75.0", "75.0"]
    assert difference[:4] == ["", "difference", "-22.6", "-5.9"]
    train, bus = 2 + CITYSCAPES_CLASSES.index("train"), 2 + CITYSCAPES_CLASSES.index("bus")
    assert (ours[train], difference[train]) == ("80.1", "-2.0")  # 80.06 - 82.1
    assert (ours[bus], difference[bus]) == ("-", "-")  # not measured
    assert (ours[-1], difference[-1]) == ("75.0", "-1.1")
    # the paper's rows without a run of ours stay alone
    assert [row[0] for row in rows[1:]] == [
        *("DAFormer", "SePiCo*", "HRDA", "PiPa (HRDA)", "MIC†", "CoPT", "CoPT", "")
    ]


def test_seeds_have_a_mean_and_half_their_range(report):
    means = (75.0, 76.0, 77.4)
    text = report(*((config(seed=k), record(mean=mean, seed=k)) for k, mean in enumerate(means)))
    rows = table_of(text, 1)
    (ours,) = named(rows, "CoPT", "ours")
    assert rows[ours][1] == "ours: 3 runs: run0, run1, run2"
    assert rows[ours][-1] == "76.1 ± 1.2"  # mean 76.13
    assert rows[ours + 1][-1] == "+0.0"


def test_a_class_that_one_seed_lacks_is_a_dash(report):
    text = report((config(seed=0), record()), (config(seed=1), record(iou={"road": None})))
    rows = table_of(text, 1)
    (ours,) = named(rows, "CoPT", "ours")
    assert rows[ours][2:4] == ["-", "70.0 ± 0.0"]


def test_sixteen_classes_of_synthia(report):
    zero = {"terrain": 0.0, "truck": 0.0, "train": 0.0}
    settings = config("synthia2cs")
    mean_of_19 = 68.0 * 16 / 19
    rows = table_of(report((settings, record(mean=68.0, iou=zero) | {"mIoU": mean_of_19})), 2)
    assert rows[0][2:-1] == [CITYSCAPES_CLASSES[k] for k in CITYSCAPES_16]
    (ours,) = named(rows, "CoPT", "ours")
    assert rows[ours][-1] == "68.0"
    assert rows[ours + 1][-1] == "+0.6"
    assert named(rows, "PiPa (HRDA)†*", "paper")


def test_the_record_states_the_mean(report):
    stated = record(mean=68.0, means={"19": 57.3, "16": 66.4, "13": 70.0})
    rows = table_of(report((config("synthia2cs"), stated)), 2)
    (ours,) = named(rows, "CoPT", "ours")
    assert rows[ours][-1] == "66.4"


def test_flags_are_explained(report):
    text = report((config("synthia2cs"), record()))
    assert "PiPa (HRDA): its classes have the mean 60.2, 67.3 is printed" in text
    assert "SePiCo: of SePiCo with DeepLab-v2" in text


def test_dark_zurich_is_not_the_test_server(report):
    text = report((config("cs2dz", "HRDA"), record(DARK_ZURICH, mean=40.0)))
    rows = table_of(text, 3)
    (printed,) = named(rows, "HRDA", "paper")
    assert rows[printed][1] == "paper (test server)"
    assert rows[printed + 1][1] == "ours, val split: run0"
    assert rows[printed + 2][-1] == "-15.9"
    assert "The paper's numbers are of the test server" in text


def test_conditions_of_acdc(report):
    def part(mean):
        return {"mIoU": mean, "IoU": dict.fromkeys(CITYSCAPES_CLASSES, mean), "images": 5}

    conditions = {"fog": part(60.0), "night": part(40.0), "rain": part(70.0)}
    text = report((config("cs2acdc"), record(ACDC, mean=58.0, conditions=conditions)))
    rows = table_of(text, 4)
    assert rows[0][2:] == ["rain", "snow", "fog", "night", "all"]
    (ours,) = named(rows, "CoPT", "ours, val split")
    assert rows[ours][2:] == ["70.0", "-", "60.0", "40.0", "58.0"]  # no snow; all is pooled
    assert rows[ours + 1][2:] == ["-4.0", "-", "-0.4", "-16.8", "-5.7"]
    assert "may be permuted" in text


def test_a_submission_has_no_score(report):
    unscored = record(DARK_ZURICH, mean=None, labelled=False)
    text = report((config("cs2dz"), unscored))
    assert table_of(text, 3) is None
    assert tables(text)["Runs"][1][-1] == "no labels"


def test_ablations(report):
    runs = [
        (config(method="MIC (HRDA)"), record(mean=74.0)),
        (config(), record(mean=75.5)),
        (config(MODEL__COPT__METRIC="l1"), record(mean=75.0)),
        (config(MODEL__COPT__ENCODER="sentence-t5"), record(mean=73.0)),
    ]
    text = report(*runs)
    distances = table_of(text, 5)
    assert distances[0] == ["method", "numbers of", "mIoU"]
    (l1,) = named(distances, "L1", "ours")
    assert distances[l1 : l1 + 2] == [["L1", "ours: run2", "75.0"], ["", "difference", "-0.3"]]
    assert named(distances, "L2", "ours") == []
    (cosine,) = named(distances, "Cosine similarity", "ours")
    assert distances[cosine][2] == "75.5"
    encoders = table_of(text, 8)
    assert encoders[named(encoders, "Sentence-T5", "ours")[0]][2] == "73.0"
    assert encoders[named(encoders, "CLIP ViT-B/32", "ours: run1")[0]][2] == "75.5"
    assert encoders[named(encoders, "MIC baseline", "ours")[0]][2] == "74.0"
    assert table_of(text, 6) is not None
    assert table_of(text, 9) is not None


def test_gains_of_the_hosts(report):
    runs = [(config(method="MIC (HRDA)"), record(mean=74.0)), (config(), record(mean=75.5))]
    rows = table_of(report(*runs), 7)
    assert rows[0][2:] == ["mIoU", "gain"]
    (mic,) = named(rows, "MIC", "ours")
    assert rows[mic][2:] == ["74.0", "-"]
    (copt,) = named(rows, "MIC+CoPT", "ours")
    assert rows[copt][2:] == ["75.5", "1.5"]
    assert rows[copt + 1][2:] == ["-0.6", "+0.0"]  # 75.5 - 76.08, 1.5 - 1.47
    assert rows[named(rows, "HRDA+CoPT", "paper")[0]][2:] == ["75.34", "1.54"]


def test_a_gain_over_nothing(report):
    rows = table_of(report((config(), record(mean=75.5))), 7)
    assert rows[named(rows, "MIC+CoPT", "ours")[0]][3] == "-"


def test_a_baseline_alone_calls_for_no_ablation(report):
    text = report((config(method="MIC (HRDA)"), record()))
    assert table_of(text, 1) is not None
    assert [n for n in range(5, 10) if table_of(text, n) is not None] == [7]


def test_departures_from_the_paper_are_named(report):
    settings = config(SOLVER__MAX_ITER=20000, DATALOADER__RARE_CLASS__ENABLED=False)
    rows = table_of(report((settings, record(iteration=4000))), 1)
    name = (
        "CoPT; SOLVER.MAX_ITER 20000; DATALOADER.RARE_CLASS.ENABLED False; iteration 4000 of 20000"
    )
    assert len(named(rows, name, "ours")) == 1


def test_methods_that_the_paper_lacks_have_no_difference(report):
    settings = config(MODEL__MIT__VARIANT="b0")
    # without rare-class sampling, as configs/base/source_only.yaml: no departure of this method
    source_only = config(method="source-only", DATALOADER__RARE_CLASS__ENABLED=False)
    text = report((settings, record()), (source_only, record()))
    rows = table_of(text, 1)
    assert [row[0] for row in rows[-2:]] == ["CoPT, MiT-B0", "source-only"]
    assert not any(row[1] == "difference" for row in rows)


def test_other_weights_are_in_no_table(report):
    path = "elsewhere/best.pth"
    found = {"path": path, "digest": "sha256-of-tensors:0123456789abcdef", "part": "student"}
    text = report((config(), record(mean=99.0, weights=found)))
    assert table_of(text, 1) is None
    header, row = tables(text)["Evaluations that are not their run's result"]
    assert header[1:] == ["weights", "part", "digest", "data set", "iteration", "mIoU"]
    assert row[1:4] == [path, "student", "01234567"]
    assert row[-2:] == ["40000", "99.0"]


def test_an_unfinished_host_has_no_gain(report):
    runs = [(config(method="MIC (HRDA)"), record(iteration=8)), (config(), record(mean=75.5))]
    rows = table_of(report(*runs), 7)
    assert rows[named(rows, "MIC+CoPT", "ours")[0]][3] == "-"


def test_an_oracle_is_no_adaptation(report):
    settings = config()
    settings["DATASETS"]["TRAIN"].append("cityscapes_fine_sem_seg_train")
    text = report((settings, record()))
    assert table_of(text, 1) is None
    assert "cityscapes_fine_sem_seg_val" in tables(text)


def test_camvid_has_a_table_without_paper(report):
    settings = config("camvid", "MIC (DAFormer)")
    values = record(BENCHMARKS["camvid"][2], mean=55.0, iou={"fence": None})
    values["classes_in_mean"].remove("fence")
    text = report((settings, values))
    assert list(tables(text)) == ["Runs", "camvid_dusk_val"]
    header, row = tables(text)["camvid_dusk_val"]
    cells = dict(zip(header, row, strict=True))
    assert cells["method"] == "MIC (DAFormer)"
    assert (cells["road"], cells["fence"], cells["mIoU"]) == ("55.0", "-", "55.0")
    assert cells["classes in mean"] == "10"


def test_a_mean_counts_the_classes_that_it_covers(report):
    values = record(BENCHMARKS["camvid"][2], iou={"fence": None, "car": None})
    values["classes_in_mean"].remove("fence")
    values["classes_left_out"] = ["fence", "car"]  # the one not in the mean, the other absent
    header, row = tables(report((config("camvid", "DAFormer"), values)))["camvid_dusk_val"]
    assert dict(zip(header, row, strict=True))["classes in mean"] == "9"


def test_runs_of_one_method_are_told_apart(report):
    dataset = BENCHMARKS["camvid"][2]
    changes = ({}, {"MODEL__COPT__METRIC": "l1"}, {"seed": 1})
    runs = [(config("camvid", "CoPT (DAFormer)", **c), record(dataset)) for c in changes]
    runs.append((config("camvid", "DAFormer"), record(dataset)))
    rows = tables(report(*runs))["camvid_dusk_val"][1:]
    assert [row[:2] for row in rows] == [
        ["CoPT (DAFormer); MODEL.COPT.METRIC cosine", "2 runs: run0, run2"],
        ["CoPT (DAFormer); MODEL.COPT.METRIC l1", "run1"],
        ["DAFormer", "run3"],
    ]


def test_generated_scenes_are_not_put_beside_the_paper(report):
    text = report((config(), record(generated_scenes=True)))
    assert [n for n in range(1, 10) if table_of(text, n) is not None] == []
    assert "76.1" not in text
    assert "cannot be compared with the paper" in " ".join(text.split())
    header, row = tables(text)["cityscapes_fine_sem_seg_val"]
    assert dict(zip(header, row, strict=True))["mIoU"] == "70.0"


def test_generated_and_real_runs_stay_apart(report):
    text = report((config(), record(generated_scenes=True)), (config(seed=1), record(mean=60.0)))
    rows = table_of(text, 1)
    assert [rows[k][1] for k in named(rows, "CoPT", "ours")] == ["ours: run1"]


def test_list_of_runs(report):
    text = report((config(seed=3), record(mean=71.25, seed=3)))
    header, row = tables(text)["Runs"]
    assert header == ["run", "method", "data set", "seed", "commit", "iteration", "mIoU"]
    assert row[1:] == ["CoPT", "cityscapes_fine_sem_seg_val", "3", "01234567", "40000", "71.2"]


def test_domains_of_the_features(report):
    source, target = "MODEL__UDA__FEATURE_LOSSES", "MODEL__UDA__TARGET_FEATURE_LOSSES"
    both = ["FeatureDistanceLoss", "CoPTLoss"]
    variants = {
        "Source + target": ({source: both, target: ["CoPTLoss"]}, 71.0),
        "Target only": ({source: both[:1], target: ["CoPTLoss"]}, 74.0),
        "Source only": ({source: both, target: []}, 76.0),
    }
    runs = [(config(**keys), record(mean=mean)) for keys, mean in variants.values()]
    rows = table_of(report(*runs), 9)
    for name, (_, mean) in variants.items():
        (ours,) = named(rows, name, "ours")
        assert rows[ours][2] == f"{mean:.1f}", name
