"""MiT-B0..B5: the hierarchical encoder of SegFormer (Xie et al., NeurIPS 2021, Section 3.1)."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from ...weight_files import bare_names, fit_tensors, named_values, read_tensors

# variant -> (channels of the stages, blocks of the stages)
VARIANTS = {
    "b0": ((32, 64, 160, 256), (2, 2, 2, 2)),
    "b1": ((64, 128, 320, 512), (2, 2, 2, 2)),
    "b2": ((64, 128, 320, 512), (3, 4, 6, 3)),
    "b3": ((64, 128, 320, 512), (3, 4, 18, 3)),
    "b4": ((64, 128, 320, 512), (3, 8, 27, 3)),
    "b5": ((64, 128, 320, 512), (3, 6, 40, 3)),
}
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)  # keys and values live on a grid coarser by this factor
STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
MLP_RATIO = 4


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: a residual branch is left out per sample, kept ones are scaled up.

    Args:
        x: (N, tokens, C).
        rate: probability of leaving it out, in [0, 1).
        training: without effect if false.
    """
    if rate == 0 or not training:
        return x
    keep = 1 - rate
    kept = torch.floor(keep + torch.rand(len(x), 1, 1, dtype=x.dtype, device=x.device))
    return x / keep * kept


class StochasticDepth(DropPath):
    """`drop_path` as a module of timm's kind, by which the teacher finds and switches it off."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, C) -> (N, tokens, C)."""
        return drop_path(x, self.drop_prob, self.training)


def to_map(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h * w, C) -> (N, C, h, w)."""
    return tokens.transpose(1, 2).reshape(len(tokens), tokens.shape[2], *size)


def to_tokens(maps: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h * w, C), row by row."""
    return maps.flatten(2).transpose(1, 2)


class OverlapPatchEmbedding(nn.Module):
    """Strided convolution whose patches overlap, then a norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, maps: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(N, inputs, h, w) -> tokens (N, h2 * w2, outputs) and (h2, w2)."""
        maps = self.proj(maps)
        return self.norm(to_tokens(maps)), tuple(maps.shape[-2:])


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values come from a coarser grid."""

    def __init__(self, channels: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduction = reduction
        self.q = nn.Linear(channels, channels)
        self.kv = nn.Linear(channels, 2 * channels)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.sr = nn.Conv2d(channels, channels, reduction, reduction)
            self.norm = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, h * w, C) -> (N, h * w, C)."""
        batch, count, channels = tokens.shape
        queries = self.q(tokens).view(batch, count, self.heads, -1).transpose(1, 2)
        if self.reduction > 1:
            maps = to_map(tokens, size)
            if min(size) < self.reduction:  # less than a coarse cell: zeros to the right and below
                missing = [max(self.reduction - side, 0) for side in size]
                maps = F.pad(maps, (0, missing[1], 0, missing[0]))
            tokens = self.norm(to_tokens(self.sr(maps)))
        # (N, coarse tokens, 2, heads, d) -> keys and values (N, heads, coarse tokens, d)
        pairs = self.kv(tokens).view(batch, -1, 2, self.heads, channels // self.heads)
        keys, values = pairs.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values)  # (N, heads, h * w, d)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, channels))


class DepthwiseConv(nn.Module):
    """3x3 convolution of each channel; it tells the tokens where they are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, h * w, C) -> (N, h * w, C)."""
        return to_tokens(self.dwconv(to_map(tokens, size)))


class MixFFN(nn.Module):
    """Two linear layers with a depth-wise convolution between them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, MLP_RATIO * channels)
        self.dwconv = DepthwiseConv(MLP_RATIO * channels)
        self.fc2 = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, h * w, C) -> (N, h * w, C)."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(tokens), size)))


class Block(nn.Module):
    """Attention and Mix-FFN, each after a norm and beside a residual path."""

    def __init__(self, channels: int, heads: int, reduction: int, drop_path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = EfficientAttention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MixFFN(channels)
        self.drop_path = StochasticDepth(drop_path_rate)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(N, h * w, C) -> (N, h * w, C)."""
        for norm, branch in ((self.norm1, self.attn), (self.norm2, self.mlp)):
            tokens = tokens + self.drop_path(branch(norm(tokens), size))
        return tokens


def initialise(module: nn.Module) -> None:
    """The authors' initialisation of one layer."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02, a=-2.0, b=2.0)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, 0.0, (2.0 / (fan_out // module.groups)) ** 0.5)
        nn.init.zeros_(module.bias)


class MixTransformer(Backbone):
    """Images -> maps res2..res5; parameter names are those of the official weights."""

    def __init__(self, variant: str, drop_path_rate: float = 0.1) -> None:
        """Args:
            variant: "b0".."b5".
            drop_path_rate: stochastic depth of the last block; it grows linearly from 0 at the
                first one.
        Raises:
            InputError: for an unknown variant.
        """
        super().__init__()
        if variant not in VARIANTS:
            raise InputError(f"MODEL.MIT.VARIANT is {variant!r}; there are {', '.join(VARIANTS)}")
        self.channels, depths = VARIANTS[variant]
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        inputs = 3
        for index, (outputs, depth) in enumerate(zip(self.channels, depths, strict=True)):
            kernel, stride = (7, 4) if index == 0 else (3, 2)
            embedding = OverlapPatchEmbedding(inputs, outputs, kernel, stride)
            blocks = nn.ModuleList(
                Block(outputs, HEADS[index], REDUCTIONS[index], next(rates)) for _ in range(depth)
            )
            self.add_module(f"patch_embed{index + 1}", embedding)
            self.add_module(f"block{index + 1}", blocks)
            self.add_module(f"norm{index + 1}", nn.LayerNorm(outputs, eps=1e-6))
            inputs = outputs
        self.apply(initialise)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W) -> res2..res5, (N, C_i, H / stride, W / stride), rounded up."""
        maps, features = {}, images
        for index, name in enumerate(STRIDES, start=1):
            tokens, size = getattr(self, f"patch_embed{index}")(features)
            for block in getattr(self, f"block{index}"):
                tokens = block(tokens, size)
            # the normalised map is the output and the next stage's input
            features = to_map(getattr(self, f"norm{index}")(tokens), size)
            maps[name] = features
        return maps

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each map."""
        pairs = zip(STRIDES.items(), self.channels, strict=True)
        return {name: ShapeSpec(channels=width, stride=stride) for (name, stride), width in pairs}


def load_mit_weights(network: MixTransformer, file: str) -> None:
    """Loads ImageNet weights in the official layout; their classifier ``head`` is dropped.

    Raises:
        InputError: if the file cannot be read, names or shapes differ, or a tensor is not finite.
    """
    what = f"MODEL.MIT.WEIGHTS {file}"
    state = named_values(read_tensors(Path(file), "MODEL.MIT.WEIGHTS"), what)
    names = {n: key for n, key in bare_names(state).items() if not n.startswith("head.")}
    fit = fit_tensors(state, names, network.state_dict())
    wrong = [*fit.missing, *fit.unknown, *fit.misshapen]
    if wrong:
        raise InputError(
            f"{what} is of another variant or layout: {wrong[0]}, and {len(wrong) - 1} more: set "
            "MODEL.MIT.VARIANT, or convert another layout with copt convert --part mit"
        )
    fit.check_broken(what)
    network.load_state_dict(fit.tensors)


@BACKBONE_REGISTRY.register()
def build_mit_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> MixTransformer:
    """The encoder of MODEL.MIT."""
    options = cfg.MODEL.MIT
    network = MixTransformer(options.VARIANT, options.DROP_PATH_RATE)
    if options.WEIGHTS:
        if not Path(options.WEIGHTS).is_file():
            raise InputError(
                f"MODEL.MIT.WEIGHTS: no such file {options.WEIGHTS}: put the ImageNet weights "
                f"there, mit_{options.VARIANT}.pth of https://github.com/NVlabs/SegFormer, or "
                f"those of https://huggingface.co/nvidia/mit-{options.VARIANT} after "
                'copt convert --part mit; or set it to "" for random weights'
            )
        load_mit_weights(network, options.WEIGHTS)
    return network
