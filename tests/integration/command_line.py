"""Where the training script and its smoke config are, and what makes a run small."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from copt_d2.data.label_spaces import CAMVID

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "train_net.py"
SMOKE = ROOT / "configs" / "smoke" / "camvid_smoke.yaml"
sys.path.append(str(SCRIPT.parent))  # new processes find the script by name, too

# a network of 0.4 million parameters and crops of one cell: 30 ms a step
SMALL = {
    "MODEL.TIMM.NAME": "test_efficientnet",
    "MODEL.TIMM.WEIGHTS": "",
    "MODEL.TIMM.FREEZE_NORM": False,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 8,
    "MODEL.UDA.PSEUDO_THRESHOLD": 0.1,
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.MAX_ITER": 8,
    "SOLVER.CHECKPOINT_PERIOD": 3,
    "SOLVER.LOG_PERIOD": 2,
    "SOLVER.IMAGE_PERIOD": 3,
    "DATASETS.TEST": "('camvid_day_val',)",
    "TEST.PICTURES": 0,
    "TEST.EXPECTED_RESULTS": [],
}
# evaluations after steps 5 and 8; checkpoints come after 3, 6 and 8, pictures after 3 and 6
EVALUATED = {"TEST__EVAL_PERIOD": 5}


def write_random_bank(path):
    """A text bank of CamVid's classes whose rows are random."""
    names = json.dumps(list(CAMVID.classes))
    rows = torch.randn(len(CAMVID.classes), 16, generator=torch.Generator().manual_seed(0))
    metadata = {"class_names": names, "templates": "[]", "encoder": "test", "averaging": "none"}
    save_file({"text_embeddings": rows}, path, metadata)
    return path


def small_run(bank, output, *flags, config=SMOKE, **changes):
    """Command line of a small run; keys with __ for dots."""
    options = {**SMALL, "MODEL.COPT.TEXT_BANK": bank, "OUTPUT_DIR": output}
    options.update({key.replace("__", "."): value for key, value in changes.items()})
    pairs = [str(part) for pair in options.items() for part in pair]
    return ["--config-file", str(config), *flags, *pairs]
