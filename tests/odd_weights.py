"""Values that stand in a file of weights and can be none, with what is said of each."""

import torch

NAN, INF = float("nan"), float("inf")


def broken(shape, value):
    """A tensor with one number that is none."""
    tensor = torch.ones(shape)
    tensor.reshape(-1)[-1] = value
    return tensor


# of a layer whose weight has two dimensions
ODD = {
    "number": (lambda shape: 3, r"is 3 \(int\), no tensor"),
    "long number": (lambda shape: 10**500, "is a int, no tensor"),
    "nothing": (lambda shape: None, "is None, no tensor"),
    "text": (lambda shape: "ones", "is a str, no tensor"),
    "list": (lambda shape: torch.ones(shape).tolist(), "is a list, no tensor"),
    "tensors": (lambda shape: [torch.ones(shape)], "is a list, no tensor"),
    "dict": (lambda shape: {"data": torch.ones(shape)}, "is a dict, no tensor"),
    "dtype": (lambda shape: torch.float32, "is a dtype, no tensor"),
    "sparse": (lambda shape: torch.ones(shape).to_sparse(), "is a sparse tensor"),
    "quantised": (
        lambda shape: torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.qint8),
        "is a quantised tensor",
    ),
    "complex": (lambda shape: torch.ones(shape, dtype=torch.complex64), "is complex64"),
    "meta": (lambda shape: torch.empty(shape, device="meta"), r"has no values \(device meta\)"),
    "NaN": (lambda shape: broken(shape, NAN), "holds NaN or infinity"),
    "infinity": (lambda shape: broken(shape, -INF), "holds NaN or infinity"),
    "half": (lambda shape: broken(shape, NAN).half(), "holds NaN or infinity"),
    "repeated": (lambda shape: torch.ones(1).expand(10**6, 10**6), "claims 10{12} numbers of 1 "),
}
# what fits a network or not
ODD_FOR_A_NETWORK = {
    **ODD,
    "whole numbers": (lambda shape: torch.ones(shape).long(), "is int64, not float32"),
    "bytes": (lambda shape: torch.ones(shape).byte(), "is uint8, not float32"),
    "bits": (lambda shape: torch.ones(shape).bool(), "is bool, not float32"),
    "too large": (
        lambda shape: torch.full(shape, 1e300, dtype=torch.float64),
        "holds NaN or infinity",
    ),
    "scalar": (lambda shape: torch.tensor(1.0), r"is \(\) there and \("),
    "empty": (lambda shape: torch.ones(0, 3), r"is \(0, 3\) there and \("),
}
