"""What the kernels are timed against: the loss of one batch, three other ways, and upsampling."""

import torch
import torch.nn.functional as F


def sampled_labels(labels, size):
    """(N, h, w), sampled as the paper's code does."""
    rows = torch.linspace(0, labels.shape[1] - 1, size[0], device=labels.device).long()
    columns = torch.linspace(0, labels.shape[2] - 1, size[1], device=labels.device).long()
    return labels[:, rows[:, None], columns]


def covariance(vectors):
    centred = vectors - vectors.mean(1, keepdim=True)
    return centred @ centred.T / (vectors.shape[1] - 1)


def cosine_loss(pixel_cov, text_cov):
    return 1 - F.cosine_similarity(pixel_cov.flatten(), text_cov.flatten(), dim=0)


def per_class_loop(features, labels, text_cov, bank):
    """As the paper describes it: mask, select, mean, bank, then the covariance of the stack."""
    sampled = sampled_labels(labels, features.shape[2:])
    vectors, present = [], []
    for c in range(len(bank)):
        mask = sampled == c
        if mask.any():
            mean = features.permute(1, 0, 2, 3)[:, mask].mean(1)
            vectors.append(0.5 * bank[c] + 0.5 * mean)
            present.append(c)
    return cosine_loss(covariance(torch.stack(vectors)), text_cov[present][:, present])


def from_sums(sums, mass, text_cov, bank):
    """Bank and loss of all classes at once; absent ones are masked."""
    present = (mass > 0)[:, None]
    means = sums / mass.clamp_min(1)[:, None]
    vectors = torch.where(present, 0.5 * bank + 0.5 * means, 0)
    return cosine_loss(covariance(vectors), torch.where(present & present.T, text_cov, 0))


def one_hot_product(features, labels, text_cov, bank):
    """One matrix product of one-hot labels and features."""
    k = len(bank)
    sampled = sampled_labels(labels, features.shape[2:])
    inside = torch.where((sampled >= 0) & (sampled < k), sampled, k)
    one_hot = F.one_hot(inside.flatten(1), k + 1)[..., :k].to(features.dtype)  # (N, q, K)
    sums = torch.bmm(one_hot.transpose(1, 2), features.flatten(2).transpose(1, 2)).sum(0)
    return from_sums(sums, one_hot.sum((0, 1)), text_cov, bank)


def index_add(features, labels, text_cov, bank):
    """Cells added to the rows of their classes."""
    k, c = bank.shape
    sampled = sampled_labels(labels, features.shape[2:]).flatten()
    inside = torch.where((sampled >= 0) & (sampled < k), sampled, k)
    cells = features.permute(0, 2, 3, 1).reshape(-1, c)
    sums = cells.new_zeros(k + 1, c).index_add(0, inside, cells)
    mass = cells.new_zeros(k + 1).index_add(0, inside, torch.ones_like(cells[:, 0]))
    return from_sums(sums[:k], mass[:k], text_cov, bank)


def upsampled_means(features, labels, num_classes):
    """Means of the upsampled features under the full-resolution masks (the paper's future work)."""
    large = F.interpolate(features, labels.shape[1:], mode="bilinear", align_corners=False)
    inside = torch.where((labels >= 0) & (labels < num_classes), labels, num_classes)
    one_hot = F.one_hot(inside.flatten(1), num_classes + 1)[..., :num_classes].to(features.dtype)
    sums = torch.bmm(large.flatten(2), one_hot).sum(0).T
    return sums / one_hot.sum((0, 1)).clamp_min(1)[:, None]
