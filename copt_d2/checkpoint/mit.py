"""MiT weights in several public layouts -> the official names, which are ours. Dicts, no files."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

DEPTHS = ((2, 2, 2, 2), (3, 4, 6, 3), (3, 4, 18, 3), (3, 8, 27, 3), (3, 6, 40, 3))  # B0 and B1..B5
CLASSIFIERS = ("head.", "classifier.")
MOST = 20  # keys in a message
PREFIXES = ("module.", "segformer.", "encoder.")

# part -> name in each layout; {i} counts stages from 1, {s} from 0, {j} blocks from 0
NAMES: dict[str, dict[str, str]] = {
    "official": {
        "embedding": "patch_embed{i}.proj.",
        "embedding_norm": "patch_embed{i}.norm.",
        "norm1": "block{i}.{j}.norm1.",
        "q": "block{i}.{j}.attn.q.",
        "kv": "block{i}.{j}.attn.kv.",
        "proj": "block{i}.{j}.attn.proj.",
        "sr": "block{i}.{j}.attn.sr.",
        "sr_norm": "block{i}.{j}.attn.norm.",
        "norm2": "block{i}.{j}.norm2.",
        "fc1": "block{i}.{j}.mlp.fc1.",
        "dwconv": "block{i}.{j}.mlp.dwconv.dwconv.",
        "fc2": "block{i}.{j}.mlp.fc2.",
        "norm": "norm{i}.",
    },
    "OpenMMLab": {
        "embedding": "layers.{s}.0.projection.",
        "embedding_norm": "layers.{s}.0.norm.",
        "norm1": "layers.{s}.1.{j}.norm1.",
        "qkv": "layers.{s}.1.{j}.attn.attn.in_proj_",
        "proj": "layers.{s}.1.{j}.attn.attn.out_proj.",
        "sr": "layers.{s}.1.{j}.attn.sr.",
        "sr_norm": "layers.{s}.1.{j}.attn.norm.",
        "norm2": "layers.{s}.1.{j}.norm2.",
        "fc1": "layers.{s}.1.{j}.ffn.layers.0.",
        "dwconv": "layers.{s}.1.{j}.ffn.layers.1.",
        "fc2": "layers.{s}.1.{j}.ffn.layers.4.",
        "norm": "layers.{s}.2.",
    },
    "Hugging Face": {
        "embedding": "patch_embeddings.{s}.proj.",
        "embedding_norm": "patch_embeddings.{s}.layer_norm.",
        "norm1": "block.{s}.{j}.layer_norm_1.",
        "q": "block.{s}.{j}.attention.self.query.",
        "k": "block.{s}.{j}.attention.self.key.",
        "v": "block.{s}.{j}.attention.self.value.",
        "proj": "block.{s}.{j}.attention.output.dense.",
        "sr": "block.{s}.{j}.attention.self.sr.",
        "sr_norm": "block.{s}.{j}.attention.self.layer_norm.",
        "norm2": "block.{s}.{j}.layer_norm_2.",
        "fc1": "block.{s}.{j}.mlp.dense1.",
        "dwconv": "block.{s}.{j}.mlp.dwconv.dwconv.",
        "fc2": "block.{s}.{j}.mlp.dense2.",
        "norm": "layer_norm.{s}.",
    },
    # what a model of transformers 5 calls its parameters in memory
    "transformers 5": {
        "embedding": "stages.{s}.patch_embeddings.proj.",
        "embedding_norm": "stages.{s}.patch_embeddings.layer_norm.",
        "norm1": "stages.{s}.blocks.{j}.layernorm_before.",
        "q": "stages.{s}.blocks.{j}.attention.q_proj.",
        "k": "stages.{s}.blocks.{j}.attention.k_proj.",
        "v": "stages.{s}.blocks.{j}.attention.v_proj.",
        "proj": "stages.{s}.blocks.{j}.attention.o_proj.",
        "sr": "stages.{s}.blocks.{j}.attention.sequence_reduction.sequence_reduction.",
        "sr_norm": "stages.{s}.blocks.{j}.attention.sequence_reduction.layer_norm.",
        "norm2": "stages.{s}.blocks.{j}.layernorm_after.",
        "fc1": "stages.{s}.blocks.{j}.mlp.fc1.",
        "dwconv": "stages.{s}.blocks.{j}.mlp.dwconv.dwconv.",
        "fc2": "stages.{s}.blocks.{j}.mlp.fc2.",
        "norm": "stages.{s}.layer_norm.",
    },
}
# our part -> the parts it can be made of; each layout has one way
SOURCES = {"q": ("q", "qkv"), "kv": ("kv", "k", "v", "qkv")}


def convert_mit(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """ImageNet weights of a MiT encoder -> the keys of ``MixTransformer.state_dict()``.

    Args:
        state_dict: in the official, the OpenMMLab or the Hugging Face (``nvidia/mit-b*``) layout,
            bare or under ``state_dict`` or ``model``; the layout is recognised by its keys.
    Returns:
        The same values under the official names; classifiers are dropped.
    Raises:
        KeyError: naming a key that is missing or unknown or whose value has no fitting shape, or
            that no layout was recognised.
    """
    state = state_dict
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state)
    names = mit_names({key: key for key in state})
    return {name: _value(name, keys, state) for name, keys in names.items()}


def mit_names(keys: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The official names -> the keys that their values are made of; see `convert_mit`.

    Args:
        keys: keys of a layout, perhaps with PREFIXES -> what they are called in the file.
    Raises:
        KeyError: naming a key, as it stands in the file, that is missing or unknown, or that no
            layout was recognised.
    """
    bare, before = {}, ""
    for key, in_file in keys.items():
        name = key
        for prefix in PREFIXES:
            name = name.removeprefix(prefix)
        if name in bare:
            raise KeyError(f"{bare[name]} and {in_file} are the same tensor of a MiT")
        if not name.startswith(CLASSIFIERS):
            bare[name] = in_file
            before = in_file.removesuffix(name)
    layout = next((name for name in NAMES if _first_key(name) in bare), None)
    if layout is None:
        known = ", ".join(f"{_first_key(name)} ({name})" for name in NAMES)
        raise KeyError(f"no MiT weights in a known layout: there is none of {known}")
    plan = dict(_plan(NAMES[layout], _depths(bare, NAMES[layout])))
    expected = {key for sources in plan.values() for key in sources}
    wrong = [f"{before}{key} is missing" for key in sorted(expected - set(bare))]
    wrong += [f"{bare[key]} is unknown" for key in sorted(set(bare) - expected)]
    if wrong:
        more = f"; {len(wrong) - MOST} more" if len(wrong) > MOST else ""
        raise KeyError(f"MiT weights in the {layout} layout: {'; '.join(wrong[:MOST])}{more}")
    return {name: tuple(bare[key] for key in sources) for name, sources in plan.items()}


def _first_key(layout: str) -> str:
    return NAMES[layout]["embedding"].format(i=1, s=0) + "weight"


def _depths(state: Mapping[str, Any], names: dict[str, str]) -> tuple[int, ...]:
    """The depths of the variant that is nearest to the blocks that are there."""
    found = [
        sum(f"{names['norm1'].format(i=s + 1, s=s, j=j)}weight" in state for j in range(64))
        for s in range(4)
    ]
    return min(
        DEPTHS, key=lambda depths: sum(abs(a - b) for a, b in zip(depths, found, strict=True))
    )


def _plan(names: dict[str, str], depths: tuple[int, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(our key, the keys that it is made of) for a whole encoder."""
    ours = NAMES["official"]
    for s, depth in enumerate(depths):
        places = [("embedding", 0), ("embedding_norm", 0)]
        places += [(part, j) for j in range(depth) for part in ours if _in_block(part, s)]
        for part, j in [*places, ("norm", 0)]:
            for kind in ("weight", "bias"):
                sources = [name for name in SOURCES.get(part, (part,)) if name in names]
                keys = tuple(names[name].format(i=s + 1, s=s, j=j) + kind for name in sources)
                yield ours[part].format(i=s + 1, j=j) + kind, keys


def _in_block(part: str, s: int) -> bool:
    """Whether a block of stage ``s`` has this part: the last stage's grid is not reduced."""
    if part in ("embedding", "embedding_norm", "norm"):
        return False
    return s < 3 or part not in ("sr", "sr_norm")


def _value(name: str, sources: tuple[str, ...], state: Mapping[str, Tensor]) -> Tensor:
    """One tensor of ours from those that it is made of."""
    for key in sources:
        if state[key].ndim == 0 or state[key].shape[1:] != state[sources[0]].shape[1:]:
            raise KeyError(f"{key} is {tuple(state[key].shape)}, which makes no {name}")
    value = torch.cat([state[key] for key in sources])  # keys above values
    if ".in_proj_" in sources[0]:  # rows of queries, keys, values
        width = len(value) // 3
        value = value[:width] if ".attn.q." in name else value[width:]
    if ".mlp.fc" in name and value.ndim == 4:  # stored as 1x1 convolutions
        value = value.flatten(1)
    return value
