"""Where the training script and its smoke config are, and what makes a run small."""

import sys
from pathlib import Path

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
