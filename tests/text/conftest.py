import pytest
import torch
from detectron2.config import get_cfg
from tiny_models import tiny_causal_lm, tiny_clip, tiny_sentence_t5

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


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache; any connection fails."""
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub"


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    return tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def causal_lm_folder(tmp_path_factory):
    return tiny_causal_lm(tmp_path_factory.mktemp("models") / "mistral")


@pytest.fixture(scope="session")
def sentence_t5_folder(tmp_path_factory):
    return tiny_sentence_t5(tmp_path_factory.mktemp("models") / "t5")
