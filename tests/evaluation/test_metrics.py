import numpy as np
import pytest

from copt_d2.evaluation import iou_from_confusion

# rows = labels, columns = predictions; class 2 occurs but is never predicted, class 3 is absent
MATRIX = np.array([[50, 10, 0, 0], [5, 20, 0, 0], [4, 6, 0, 0], [0, 0, 0, 0]])
IOU = (50 / (60 + 59 - 50), 20 / (25 + 36 - 20), 0.0)


def test_hand_example():
    iou, mean = iou_from_confusion(MATRIX)
    np.testing.assert_allclose(iou[:3], IOU, rtol=1e-12)
    assert np.isnan(iou[3])
    assert iou.dtype == np.float64
    assert mean == pytest.approx(sum(IOU) / 3)


def test_rows_and_columns_may_be_swapped():
    np.testing.assert_array_equal(iou_from_confusion(MATRIX.T)[0], iou_from_confusion(MATRIX)[0])


def test_the_mean_is_over_the_subset_and_the_ious_over_all():
    iou, mean = iou_from_confusion(MATRIX, [1, 3])
    assert len(iou) == 4
    assert mean == pytest.approx(IOU[1])  # class 3 is absent
    assert np.isnan(iou_from_confusion(MATRIX, [3])[1])
    assert np.isnan(iou_from_confusion(MATRIX, [])[1])


def test_a_predicted_class_without_labels_scores_zero():
    iou, mean = iou_from_confusion(np.array([[3, 1], [0, 0]]))
    np.testing.assert_allclose(iou, [0.75, 0.0])
    assert mean == pytest.approx(0.375)


def test_no_pixel_at_all():
    iou, mean = iou_from_confusion(np.zeros((3, 3), dtype=np.int64))
    assert np.isnan(iou).all()
    assert np.isnan(mean)


def test_large_counts_are_exact():
    # 500 images of 2048 x 1024 overflow int32
    huge = 500 * 2048 * 1024
    iou, _ = iou_from_confusion(np.array([[huge, huge], [0, huge]], dtype=np.int64))
    np.testing.assert_allclose(iou, [0.5, 0.5])


@pytest.mark.parametrize(
    ("matrix", "classes"),
    [(np.zeros((2, 3)), None), (np.zeros(4), None), (np.eye(3), [3]), (np.eye(3), [-1])],
)
def test_wrong_arguments(matrix, classes):
    with pytest.raises(ValueError, match="matrix"):
        iou_from_confusion(matrix, classes)
