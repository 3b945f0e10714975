"""Ahead-of-time builds of the Triton kernels with the settings of the paper's shape."""

import os
import re
import subprocess
import tempfile

import torch
import triton
import triton.language as tl
from copt_kernels.class_covariance import triton_covariance as covariance
from copt_kernels.class_covariance import triton_impl
from copt_kernels.class_covariance import triton_pooling as pooling
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
INTEGER_POINTERS = {"labels": "*i64", "counter": "*i32"}
FLOATS = {"last_row", "row_step", "last_column", "column_step", "decay", "epsilon"}
POINTERS = {
    *("features", "labels", "weights", "sums", "mass", "counter", "pooled", "total_mass", "loss"),
    *("gradient", "out", "text_cov", "bank", "new_bank", "products", "gram", "centre", "grad_loss"),
}
CELLS = {"h": 16, "w": 16, "K": 19, "PLANE": True}
POOL = {**CELLS, "SPLITS": 4, "BLOCK_K": 32, "SHORT": tl.bfloat16}
PADDED = {"K": 19, "KP": 32}
COVARIANCE = {
    **PADDED,
    **{"SPLITS": 4, "HAS_BANK": True, "DIVIDE": True, "BLOCK_C": 32, "BLOCKS": 16},
}
SPREAD = {**CELLS, "KP": 32, "BLOCK_C": 16, "BLOCK_Q": 128}
GATHER = {**CELLS, "DIVIDE": True, "BLOCK_C": 16, "BLOCK_Q": 64}
WEIGHTS = {"h": 16, "w": 16, "K": 19, "BLOCK_K": 32, "BLOCK_W": 64, "ROWS": 16}
# the largest that are launched: shared memory grows with them, not with the number of blocks
MANY_CELLS = torch.empty(2, 512, 128, 128, device="meta")
MOST = dict(
    zip(
        ("BLOCK_C", "BLOCK_Q", "BLOCK_K"),
        triton_impl.pool_blocks(MANY_CELLS, 150, "area"),
        strict=True,
    )
)
MANY_CHANNELS = {"SPLITS": 16, "BLOCKS": 16, "METRIC": "cosine"}
# name -> kernel, constants, options
BUILDS = {
    "weights, area": (pooling.weights_kernel, {**WEIGHTS, "BILINEAR": False}, {}),
    "weights, bilinear": (pooling.weights_kernel, {**WEIGHTS, "BILINEAR": True}, {}),
    "pool, nearest": (
        pooling.pool_kernel,
        {**POOL, "SOFT": False, "BLOCK_C": 16, "BLOCK_Q": 128},
        {"num_stages": 1},
    ),
    "pool, nearest, many cells": (
        pooling.pool_kernel,
        {**POOL, "SOFT": False, "BLOCK_C": 64, "BLOCK_Q": 64, "SPLITS": 16},
        {"num_stages": 2},
    ),
    "pool, soft": (
        pooling.pool_kernel,
        {**POOL, "SOFT": True, "BLOCK_C": 16, "BLOCK_Q": 128},
        {"num_stages": 1},
    ),
    "pool, soft, many cells": (
        pooling.pool_kernel,
        {**POOL, "SOFT": True, "BLOCK_C": 64, "BLOCK_Q": 64, "SPLITS": 16},
        {"num_stages": 2},
    ),
    "pool, soft, many cells and classes": (
        pooling.pool_kernel,
        {**POOL, "SOFT": True, "SPLITS": 16, "K": 150, **MOST},
        {"num_stages": 2},
    ),
    "combine": (
        pooling.combine_kernel,
        {"K": 19, "SPLITS": 4, "DIVIDE": True, "BLOCK_C": 256},
        {},
    ),
    "pool backward, nearest": (pooling.pool_backward_kernel, {**GATHER, "SOFT": False}, {}),
    "pool backward, soft": (pooling.pool_backward_kernel, {**GATHER, "SOFT": True}, {}),
    "covariance, cosine": (
        covariance.covariance_kernel,
        {**COVARIANCE, "METRIC": "cosine"},
        {},
    ),
    "covariance, l1": (covariance.covariance_kernel, {**COVARIANCE, "METRIC": "l1"}, {}),
    "covariance, l2": (covariance.covariance_kernel, {**COVARIANCE, "METRIC": "l2"}, {}),
    "covariance, many channels": (
        covariance.covariance_kernel,
        {**COVARIANCE, **MANY_CHANNELS, "BLOCK_C": triton_impl.covariance_block(8192, 32)},
        {},
    ),
    "covariance, many channels and classes": (
        covariance.covariance_kernel,
        {
            **COVARIANCE,
            **MANY_CHANNELS,
            **{"K": 64, "KP": 64, "BLOCK_C": triton_impl.covariance_block(8192, 64)},
        },
        {},
    ),
    "covariance backward": (
        covariance.covariance_backward_kernel,
        {**PADDED, "BLOCK_C": 32},
        {},
    ),
    "whole backward, nearest": (
        covariance.pooled_loss_backward_kernel,
        {**SPREAD, "SOFT": False},
        {},
    ),
    "whole backward, soft": (
        covariance.pooled_loss_backward_kernel,
        {**SPREAD, "SOFT": True},
        {},
    ),
}


def build(name, target):
    """The compiled kernel, for float32 features and int64 labels."""
    kernel, constants, options = BUILDS[name]
    precision = "ieee" if target.startswith("gfx") else "tf32x3"
    constants = {**constants, "PRECISION": precision, "sw": 1, "lw": 1}
    if kernel is covariance.covariance_kernel:
        padded, block = constants["KP"], constants["BLOCK_C"]
        constants["SPLITS_AHEAD"] = triton_impl.tiles_ahead(constants["SPLITS"], padded * block)
        constants["BLOCKS_PADDED"] = triton.next_power_of_2(constants["BLOCKS"])
        constants["BLOCKS_AHEAD"] = triton_impl.tiles_ahead(constants["BLOCKS"], padded * padded)
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    signature = {}
    for argument in kernel.arg_names:
        if argument in constants:
            signature[argument] = "constexpr"
        elif argument in POINTERS:
            signature[argument] = INTEGER_POINTERS.get(argument, "*fp32")
        else:
            signature[argument] = "fp32" if argument in FLOATS else "i32"
    aligned = {*POINTERS, "channels", "sn", "sc", "ln", "lh"}
    attributes = {
        (index,): [["tt.divisibility", 16]]
        for index, argument in enumerate(kernel.arg_names)
        if argument in aligned
    }
    source = ASTSource(kernel, signature, constants, attributes)
    return triton.compile(source, target=TARGETS[target], options=options)


def resources(name, target):
    """Registers of a thread, bytes of stack and of shared memory of one program."""
    built = build(name, target)
    if target.startswith("gfx"):
        found = re.search(r"\.vgpr_count:\s+(\d+)", built.asm["amdgcn"])
        spilled = re.search(r"\.private_segment_fixed_size:\s+(\d+)", built.asm["amdgcn"])
        return int(found[1]), int(spilled[1]), built.metadata.shared
    folder = os.path.join(os.path.dirname(triton.__file__), "backends", "nvidia", "bin")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        command = [os.path.join(folder, "cuobjdump"), "-res-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    return int(found[1]), int(found[2]), built.metadata.shared
