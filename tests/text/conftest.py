import pytest
import torch
from detectron2.config import get_cfg

from copt_d2.config import add_copt_config
from copt_d2.text import build_encoder


class WordCountEncoder:
    """D = 3: characters, words and letters "a" of a prompt; counts how often it is asked."""

    id = "word-count/1"
    libraries = ("torch",)

    def __init__(self):
        self.prompts = []

    def encode(self, prompts):
        self.prompts += prompts
        rows = [[len(text), len(text.split()), text.count("a")] for text in prompts]
        return torch.tensor(rows, dtype=torch.float32)


@pytest.fixture
def word_count_encoder():
    return WordCountEncoder()


@pytest.fixture(scope="session")
def minilm():
    return build_encoder("minilm")


@pytest.fixture
def text_cfg(tmp_path, monkeypatch):
    """A config of day and dusk, with the cache in a folder of the test."""
    monkeypatch.setenv("COPT_D2_CACHE", str(tmp_path / "cache"))
    cfg = get_cfg()
    add_copt_config(cfg)
    cfg.MODEL.COPT.SOURCE_DOMAINS = ("day",)
    cfg.MODEL.COPT.TARGET_DOMAINS = ("dusk",)
    return cfg
