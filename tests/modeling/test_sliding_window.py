import pytest
import torch

from copt_d2.modeling.sliding_window import predict_windows, window_boxes, window_starts


@pytest.mark.parametrize(
    ("size", "window", "stride", "starts"),
    [
        (2048, 1024, 512, [0, 512, 1024]),
        (1024, 1024, 512, [0]),
        (1920, 1024, 512, [0, 512, 896]),
        (1080, 1024, 512, [0, 56]),
        (1024, 512, 256, [0, 256, 512]),
        (1025, 512, 256, [0, 256, 512, 513]),
        (100, 512, 256, [0]),
        (511, 512, 1, [0]),
        (10, 4, 7, [0, 6]),  # a gap: the stride is larger than the window
    ],
)
def test_starts(size, window, stride, starts):
    assert window_starts(size, window, stride) == starts


def test_boxes_of_the_benchmarks():
    assert window_boxes((1024, 2048), (1024, 1024), (512, 512)) == [
        (0, 1024, x, x + 1024) for x in (0, 512, 1024)
    ]
    assert window_boxes((1080, 1920), (1024, 1024), (512, 512)) == [
        (y, y + 1024, x, x + 1024) for y in (0, 56) for x in (0, 512, 896)
    ]


def test_boxes_are_cut_at_a_small_image():
    assert window_boxes((40, 90), (64, 64), (32, 32)) == [(0, 40, 0, 64), (0, 40, 26, 90)]


def test_every_pixel_is_the_mean_over_its_windows():
    # each window predicts its own number everywhere, so the mean tells which windows were used
    images = torch.rand(2, 3, 7, 13)
    window, stride = (5, 6), (3, 4)
    boxes = [(y, y + 5, x, x + 6) for y in (0, 2) for x in (0, 4, 7)]
    seen = []

    def predict(crop):
        seen.append(crop)
        return torch.full((2, 4, *crop.shape[2:]), float(len(seen)))

    actual = predict_windows(predict, images, window, stride)
    assert actual.shape == (2, 4, 7, 13)
    for (y1, y2, x1, x2), crop in zip(boxes, seen, strict=True):
        assert torch.equal(crop, images[:, :, y1:y2, x1:x2])
    for y in range(7):
        for x in range(13):
            numbers = [
                number
                for number, (y1, y2, x1, x2) in enumerate(boxes, start=1)
                if y1 <= y < y2 and x1 <= x < x2
            ]
            expected = torch.full((2, 4), sum(numbers) / len(numbers))
            torch.testing.assert_close(actual[:, :, y, x], expected)


def test_a_pointwise_model_is_not_changed_by_windows():
    weight = torch.randn(4, 3, dtype=torch.float64)

    def predict(crop):
        return torch.einsum("kc,nchw->nkhw", weight, crop)

    images = torch.randn(1, 3, 21, 34, dtype=torch.float64)
    actual = predict_windows(predict, images, (8, 9), (5, 4))
    torch.testing.assert_close(actual, predict(images))


@pytest.mark.parametrize("stride", [(0, 4), (4, 9), (-1, 4)])
def test_a_stride_that_leaves_pixels_out_is_refused(stride):
    with pytest.raises(ValueError, match=r"between 1 and the window \(4, 8\)"):
        predict_windows(lambda x: x, torch.zeros(1, 3, 20, 20), (4, 8), stride)


def test_an_image_smaller_than_the_window_is_predicted_at_once():
    calls = []

    def predict(crop):
        calls.append(crop.shape)
        return crop * 2

    images = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(predict_windows(predict, images, (8, 8), (4, 4)), images * 2)
    assert calls == [(1, 3, 5, 6)]


def test_one_window_is_in_memory_at_a_time():
    living = set()

    class Window(torch.Tensor):
        def __del__(self):
            living.discard(id(self))

    def predict(crop):
        assert len(living) <= 1  # the window before this one may still have a name
        logits = torch.ones(1, 2, *crop.shape[2:]).as_subclass(Window)
        living.add(id(logits))
        return logits

    predict_windows(predict, torch.rand(1, 3, 8, 64), (8, 8), (8, 4))
