"""Run folders with records that nobody has measured."""

import json

import yaml

from copt_d2.data.label_spaces import CAMVID, CITYSCAPES_CLASSES

COPT = {"UDA": {"PHASES": ["source", "mixed", "masked"]}, "HRDA": {"ENABLED": True}}
BENCHMARKS = {
    "gta2cs": ("gta_sem_seg_train", "cityscapes_fine_sem_seg_train", "cityscapes_fine_sem_seg_val"),
    "synthia2cs": (
        *("synthia_sem_seg_train", "cityscapes_fine_sem_seg_train"),
        "cityscapes_fine_sem_seg_val",
    ),
    "cs2dz": (
        "cityscapes_fine_sem_seg_train",
        "dark_zurich_sem_seg_train",
        "dark_zurich_sem_seg_val",
    ),
    "cs2acdc": ("cityscapes_fine_sem_seg_train", "acdc_sem_seg_train", "acdc_sem_seg_val"),
    "camvid": ("camvid_day_train", "camvid_dusk_train", "camvid_dusk_val"),
}


def config(benchmark="gta2cs", method="CoPT", seed=0, **changes):
    """A config of the published method; ``changes`` are dotted keys with __ for dots."""
    source, target, test = BENCHMARKS[benchmark]
    hrda = method in ("HRDA", "MIC (HRDA)", "CoPT", "HRDA+CoPT")
    phases = ["source"]
    phases += ["mixed"] if method != "source-only" else []
    phases += ["masked"] if method.startswith(("MIC", "CoPT")) else []
    losses = ["FeatureDistanceLoss"] if method != "source-only" else []
    losses += ["CoPTLoss"] if "CoPT" in method else []
    flat = {
        **{"SEED": seed, "OUTPUT_DIR": f"output/{seed}", "SOLVER.MAX_ITER": 40000},
        **{"DATASETS.TRAIN": [source], "DATASETS.TARGET": [target], "DATASETS.TEST": [test]},
        **{"MODEL.UDA.PHASES": phases, "MODEL.UDA.FEATURE_LOSSES": losses},
        **{"MODEL.HRDA.ENABLED": hrda, "MODEL.BACKBONE.NAME": "build_mit_backbone"},
        **{"MODEL.MIT.VARIANT": "b5", "INPUT.CROP.SIZE": [1024, 1024] if hrda else [512, 512]},
        **{"MODEL.COPT.METRIC": "cosine", "MODEL.COPT.ENCODER": "open_clip:ViT-B-32"},
        "MODEL.COPT.TEMPLATES": "",
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    nested = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        node = nested
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return nested


def record(dataset="cityscapes_fine_sem_seg_val", mean=70.0, iou=None, **fields):
    """A record whose classes all have the IoU ``mean``, but those of ``iou``."""
    names = CAMVID.classes if dataset.startswith("camvid") else CITYSCAPES_CLASSES
    values = dict.fromkeys(names, mean) | (iou or {})
    return {
        **{"dataset": dataset, "split": dataset.rsplit("_", 1)[-1], "labelled": True},
        **{"generated_scenes": False, "classes_in_mean": list(names), "iteration": 40000},
        **{"mIoU": mean, "IoU": values, "seed": 0, "commit": "0123456789abcdef"},
        **fields,
    }


def write_run(folder, settings, *records):
    """A run folder with a config and records."""
    (folder / "evaluation").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    for content in records:
        path = folder / "evaluation" / f"{content['dataset']}.json"
        path.write_text(json.dumps(content))
    return folder


def tables(text):
    """{heading: rows of cells, the header first} of a report."""
    found, heading = {}, None
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("|") and not line.startswith(("|:", "|-")):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found.setdefault(heading, []).append(cells)
    return found


def table_of(text, number):
    """The rows of the paper's table of this number, or ``None``."""
    named = [rows for name, rows in tables(text).items() if name.startswith(f"Table {number}:")]
    return named[0] if named else None


def named(rows, name, origin=""):
    """Positions of the rows of a name whose second cell begins with ``origin``."""
    return [k for k, row in enumerate(rows) if row[0] == name and row[1].startswith(origin)]
