"""The main job on generated scenes: source-only and adapted model, their scores and a picture.

python tools/demo.py [--seed S] [--out output/demo] [--datasets datasets/demo] [KEY VALUE ...]
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from tabulate import tabulate

TOOLS = Path(__file__).resolve().parent
RUNS = {"source-only": "baselines/demo_source_only", "adapted": "demo"}
VAL = "cityscapes_fine_sem_seg_val"
SCENES = ["--source", "120", "--target", "80", "--val", "40", "--width", "512"]


def run_tool(name: str, *arguments: str, datasets: Path | None = None) -> None:
    """Runs another tool of this folder; ends this one if that fails."""
    environment = dict(os.environ)
    if datasets is not None:
        environment["DETECTRON2_DATASETS"] = str(datasets)
    command = [sys.executable, str(TOOLS / name), *arguments]
    finished = subprocess.run(command, env=environment)
    if finished.returncode:
        sys.exit(finished.returncode)


def train(
    name: str, out: Path, datasets: Path, seed: int, overrides: list[str]
) -> tuple[dict, float]:
    """Trains one model; its evaluation record and the seconds it took."""
    folder = out / name
    print(f"\n== {name} ==", flush=True)
    start = time.time()
    options = [*overrides, "SEED", str(seed), "OUTPUT_DIR", str(folder)]
    run_tool("train_net.py", "--config-file", RUNS[name], *options, datasets=datasets)
    record = json.loads((folder / "evaluation" / f"{VAL}.json").read_text())
    return record, time.time() - start


def print_scores(records: dict[str, dict]) -> None:
    """Per-class IoU of both models, the mean over all classes that occur last."""
    names = [n for n in records["adapted"]["IoU"] if records["adapted"]["IoU"][n] is not None]
    rows = [[n, *(records[run]["IoU"][n] for run in RUNS)] for n in names]
    rows.append([f"mIoU of {len(names)}", *(records[run]["mIoU"] for run in RUNS)])
    for row in rows:
        row.append(row[2] - row[1] if None not in row else None)
    print(tabulate(rows, headers=["class", *RUNS, "gain"], floatfmt=".1f", missingval="-"))


def draw_picture(out: Path, datasets: Path, scenes: int, overrides: list[str]) -> Path:
    """Image, both predictions and ground truth of some validation scenes, with a legend."""
    os.environ["DETECTRON2_DATASETS"] = str(datasets)
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.modeling import build_model

    from copt_d2.data import build_uda_test_loader
    from copt_d2.data.reading import read_image, read_train_ids
    from copt_d2.engine import load_config, load_student_weights
    from copt_d2.evaluation.pictures import prediction_sheet

    metadata = MetadataCatalog.get(VAL)
    entries = DatasetCatalog.get(VAL)
    chosen = {entries[i]["file_name"] for i in np.linspace(0, len(entries) - 1, scenes, dtype=int)}
    predictions: dict[str, list[np.ndarray]] = {file: [] for file in chosen}
    for name in RUNS:
        cfg = load_config(RUNS["source-only"], overrides)
        model = build_model(cfg).eval()
        load_student_weights(model.student, str(out / name / "model_final.pth"))
        for batch in build_uda_test_loader(cfg, VAL):
            if batch[0]["file_name"] in chosen:
                with torch.no_grad():
                    logits = model.inference(batch)[0]["sem_seg"]
                found = logits.argmax(dim=0).byte().cpu().numpy()
                predictions[batch[0]["file_name"]].append(found)
    table = np.asarray(metadata.label_table, dtype=np.uint8)
    rows = [
        [
            read_image(entry["file_name"]),
            *predictions[entry["file_name"]],
            read_train_ids(entry["sem_seg_file_name"], table),
        ]
        for entry in entries
        if entry["file_name"] in chosen
    ]
    titles = ["image", *RUNS, "ground truth"]
    sheet = prediction_sheet(rows, titles, metadata.stuff_classes, metadata.stuff_colors)
    path = out / "demo.png"
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        sys.exit(f"error: {path} cannot be written: free space or choose another --out")
    return path


def main(argv: list[str] | None = None) -> None:
    """Scenes, two trainings, table, picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and of the training")
    parser.add_argument("--out", type=Path, default=Path("output/demo"), help="runs and picture")
    parser.add_argument("--datasets", type=Path, help="scenes; default datasets/demo_seed<S>")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="of both trainings")
    arguments = parser.parse_args(argv)
    datasets = arguments.datasets or Path(f"datasets/demo_seed{arguments.seed}")
    real = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "camvid"
    start = time.time()
    options = ["--out", str(datasets), "--seed", str(arguments.seed)]
    run_tool("make_scenes.py", "--benchmark", "gta2cs", *SCENES, *options)
    results = {
        name: train(name, arguments.out, datasets, arguments.seed, arguments.opts) for name in RUNS
    }
    print()
    print_scores({name: record for name, (record, _) in results.items()})
    for name, (_, seconds) in results.items():
        print(f"{name}: {seconds:.0f} s")
    print(f"picture: {draw_picture(arguments.out, datasets, scenes=5, overrides=arguments.opts)}")
    print(f"all in all: {time.time() - start:.0f} s")
    if real.is_dir():
        script = TOOLS / "train_net.py"
        command = f"{sys.executable} {script} --config-file camvid_day2dusk"
        print(f"{real} is there: the same on real photographs: {command}")


if __name__ == "__main__":
    main()
