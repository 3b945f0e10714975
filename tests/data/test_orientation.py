"""One rule for EXIF orientations: training, preparation, check and evaluation say the same."""

import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from picture_files import chunk, encoded, exif, png

from copt_d2.data.checking import check_split
from copt_d2.data.datasets import SPLITS
from copt_d2.data.label_spaces import CAMVID
from copt_d2.data.prepare import prepare_source
from copt_d2.data.reading import label_reader, read_pair
from copt_d2.errors import InputError

SPLIT = "camvid_day_train"
TABLE = np.array(CAMVID.table, np.uint8)
UPRIGHT = np.random.default_rng(0).integers(0, 11, (6, 8))
# picture -> as a camera with this orientation stores it
STORED = {
    **{1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1]},
    **{5: lambda a: a.T, 6: lambda a: a[:, ::-1].T, 7: lambda a: a[::-1, ::-1].T},
    8: lambda a: a[::-1].T,
}


@pytest.fixture
def outcomes(folder):
    """What the four ways to read a pair make of it: "fits", "EXIF" or another message.

    Image and labels show the same: a pixel's level is 20 times its class.
    """

    def call(image, labels):
        root = folder.root / "camvid"
        for name, content in (("train", image), ("trainannot", labels)):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / "0006R0_0.png").write_bytes(content)
        entries = DatasetCatalog.get(SPLIT)
        files = entries[0]["file_name"], entries[0]["sem_seg_file_name"]

        def mapper():
            pixels, train_ids = read_pair(*files, TABLE)
            np.testing.assert_array_equal(pixels[..., 0] // 20, train_ids)

        said: list[str] = []
        for use in (
            mapper,
            lambda: prepare_source(SPLITS[SPLIT], root, jobs=1),
            lambda: check_split(SPLIT, SPLITS[SPLIT], root, jobs=1),
            lambda: label_reader(entries, TABLE)(files[1]),
        ):
            try:
                use()
                said.append("fits")
            except InputError as error:
                said.append(str(error))
        refusals = [line for line in said if line != "fits"]
        assert all(name in line and "\n" not in line for line in refusals for name in files)
        return ["EXIF" if "EXIF orientation" in line else line for line in said]

    return call


def picture(orientation, values):
    return png(values * 20, before=chunk(b"eXIf", exif(orientation)))


@pytest.mark.parametrize("orientation", STORED)
def test_labels_drawn_on_the_upright_picture(outcomes, orientation):
    """Of a picture on its side the sizes show that they fit; of a mirrored one nothing does."""
    image = picture(orientation, STORED[orientation](UPRIGHT))
    expected = "fits" if orientation in (1, 5, 6, 7, 8) else "EXIF"
    assert outcomes(image, png(UPRIGHT)) == [expected] * 4


@pytest.mark.parametrize("orientation", STORED)
def test_labels_drawn_on_the_stored_pixels(outcomes, orientation):
    stored = STORED[orientation](UPRIGHT)
    expected = "fits" if orientation == 1 else "EXIF"
    assert outcomes(picture(orientation, stored), png(stored)) == [expected] * 4


@pytest.mark.parametrize("orientation", STORED)
def test_labels_with_the_tag_of_their_image(outcomes, orientation):
    stored = STORED[orientation](UPRIGHT)
    labels = png(stored, after=chunk(b"eXIf", exif(orientation)))
    assert outcomes(picture(orientation, stored), labels) == ["fits"] * 4


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_of_a_square_picture_the_size_shows_nothing(outcomes, orientation):
    square = UPRIGHT[:, :6]
    image = picture(orientation, STORED[orientation](square))
    assert outcomes(image, png(square)) == ["EXIF"] * 4


def test_two_tags_that_differ(outcomes):
    labels = png(STORED[3](UPRIGHT), before=chunk(b"eXIf", exif(3)))
    assert outcomes(picture(6, STORED[6](UPRIGHT)), labels) == ["EXIF"] * 4


def test_sizes_that_differ_for_another_reason(outcomes):
    image = encoded((UPRIGHT * 20).astype(np.uint8), "JPEG")
    for message in outcomes(image, png(UPRIGHT[:5])):
        assert "is 8x6 but its label file" in message
        assert "is 8x5: restore the wrong one" in message
