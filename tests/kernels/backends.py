"""Which backends a test can run here, and on which device: Triton's on a GPU or interpreted."""

import os

import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICES = {"torch": "cpu"}
if INTERPRETED or torch.cuda.is_available():
    DEVICES["triton"] = "cpu" if INTERPRETED else "cuda"
