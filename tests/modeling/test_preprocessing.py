import torch

from copt_d2.modeling.preprocessing import ImagePreprocessor

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)


def build(size=(5, 7)):
    return ImagePreprocessor(MEAN, STD, size)


def test_normalise_from_bytes():
    image = torch.tensor([12, 20, 22], dtype=torch.uint8).view(3, 1, 1).expand(3, 2, 3)
    actual = build().normalise(image)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual[:, 0, 0], torch.tensor([1.0, 0.0, -1.0]))
    assert build().normalise(image.unsqueeze(0)).shape == (1, 3, 2, 3)


def test_pads_right_and_below():
    sample = {
        "image": torch.full((3, 4, 6), 255, dtype=torch.uint8),
        "sem_seg": torch.full((4, 6), 3, dtype=torch.uint8),
        "valid": torch.ones(4, 6, dtype=torch.uint8),
        "file_name": "x.png",
    }
    batch = build().batch([sample])
    assert batch.images.shape == (1, 3, 5, 7)
    torch.testing.assert_close(batch.images[0, :, 3, 5], torch.tensor([122.5, 58.75, 28.125]))
    assert (batch.images[0, :, 4] == 0).all()  # 0 after the normalisation: the mean colour
    assert (batch.images[0, :, :, 6] == 0).all()
    assert batch.labels.dtype == torch.int64
    for field, inside, outside in ((batch.labels, 3, 255), (batch.valid, 1, 0)):
        assert (field[0, :4, :6] == inside).all()
        assert (field[0, 4] == outside).all()
        assert (field[0, :, 6] == outside).all()


def test_a_batch_of_several_sizes():
    images = [torch.full((3, h, w), 10, dtype=torch.uint8) for h, w in ((5, 7), (2, 7), (5, 1))]
    batch = build().batch([{"image": image} for image in images])
    assert batch.images.shape == (3, 3, 5, 7)
    assert batch.labels is None
    assert batch.valid is None
    assert (batch.images[:, 2, 0, 0] == -2.5).all()


def test_no_samples_no_batch():
    assert build().batch([]) is None


def test_reads_the_config_and_adds_nothing_to_a_checkpoint(tiny_cfg):
    tiny_cfg.MODEL.PIXEL_MEAN, tiny_cfg.MODEL.PIXEL_STD = list(MEAN), list(STD)
    preprocessor = ImagePreprocessor(tiny_cfg)
    assert preprocessor.size == (64, 96)
    assert preprocessor.mean.flatten().tolist() == list(MEAN)
    assert preprocessor.std.flatten().tolist() == list(STD)
    assert not preprocessor.state_dict()


def test_padding_is_told_of_once(caplog):
    def sample(height, width, **labels):
        image = torch.zeros(3, height, width, dtype=torch.uint8)
        return {"image": image, "file_name": f"{height}x{width}.png", **labels}

    preprocessor = build()
    preprocessor.batch([sample(5, 7)] * 2)
    assert caplog.text == ""
    preprocessor.batch([sample(5, 7), sample(4, 7)])  # a fifth of 35 pixels is missing
    preprocessor.batch([sample(1, 1)])
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith(
        "INPUT.CROP.SIZE (5, 7) (height, width) is larger than 4x7.png, of which "
    )
    assert "(4, 7) are left after INPUT.TARGET_RESIZE and INPUT.SCALE_RANGE: 20.0 % of" in line
    caplog.clear()
    labels = torch.zeros(5, 1, dtype=torch.uint8)
    build().batch([sample(5, 1, sem_seg=labels)])
    assert "INPUT.SOURCE_RESIZE and INPUT.SCALE_RANGE: 85.7 % of" in caplog.text
