"""Pictures and videos through a model that reads the classes from the pixels."""

import json
import os
import signal
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from copt_d2.errors import InputError
from copt_d2.inference import Result, video
from copt_d2.inference import session as session_module
from copt_d2.inference.coco import CocoFile
from copt_d2.inference.inputs import camera_number, find_items
from copt_d2.inference.outputs import Folder, check_kinds
from copt_d2.inference.session import Session
from copt_d2.inference.video import Video, open_writer, suffix

CLASSES, PALETTE, THINGS = ("road", "car", "sky"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)), (1,)
ALL = "overlay,color,ids,confidence"


class Reader:
    """Train id = red / 50; as sure as green / 250."""

    bit_depth = 16

    def predict_batch(self, pictures, confidence=True):
        for image, name in pictures:
            if (image[..., 0] == 255).all():
                raise InputError(f"the logits of {name} are NaN")
            sure = (image[..., 1] / 250).astype(np.float32)
            yield Result(image, image[..., 0] // 50, sure, CLASSES, PALETTE)


def drawn(seed=0, size=(20, 31)):
    values = np.random.default_rng(seed).integers(0, 3, (*size, 3)).astype(np.uint8) * 50
    return values + np.uint8(10)


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


def write_video(path, count, size=(48, 64), step=1):
    writer = open_writer(path, 12.5, size)
    for number in range(count):
        writer.write(np.full((*size, 3), 60 + step * number % 90, np.uint8))
    writer.close()


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


@pytest.fixture
def begin(tmp_path):
    """A session that writes to ``tmp_path / "out"``, and the lines that it tells."""

    def start(kinds=ALL, **options):
        lines = []
        folder = Folder(tmp_path / "out", check_kinds(kinds))
        return Session(Reader(), folder, tell=lines.append, **options), lines

    return start


@pytest.mark.parametrize("batch", [1, 3])
def test_a_folder_keeps_its_tree_and_goes_on_after_bad_files(begin, tmp_path, batch):
    root = tmp_path / "my pictures é"
    for number, name in enumerate(("a.png", "sub/a.png", "sub/b.PNG", "sub/b.bmp")):
        write(root / name, drawn(number))
    (root / "broken.jpg").write_bytes(b"no picture")
    write(root / "nan.png", np.full((4, 4, 3), 255, np.uint8))
    (root / "notes.txt").touch()
    (root / "sub" / "circle").symlink_to(root)
    session, lines = begin(batch=batch)
    session.pictures(find_items(str(root), tmp_path / "out"))
    assert (session.written, session.failures, len(lines)) == (4, 2, 2)
    assert any("broken.jpg" in line for line in lines)
    assert any("nan.png are NaN" in line for line in lines)
    out = tmp_path / "out"
    written = sorted(path.relative_to(out / "ids").as_posix() for path in out.glob("ids/**/*.png"))
    assert written == ["a.png", "sub/a.png", "sub/b_PNG.png", "sub/b_bmp.png"]
    ids = cv2.imread(str(out / "ids" / "sub" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(ids, drawn(1)[..., 0] // 50)
    color = cv2.imread(str(out / "color" / "sub" / "a.png"))[..., ::-1]
    assert np.array_equal(color, np.array(PALETTE)[ids])
    sure = cv2.imread(str(out / "confidence" / "sub" / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.abs(sure / 65535 - drawn(1)[..., 1] / 250).max() < 1e-4


def test_unsure_pixels_are_ignored_everywhere(begin, tmp_path):
    image = drawn(3)
    write(tmp_path / "a.png", image)
    coco = CocoFile(tmp_path / "coco" / "a.json", CLASSES, THINGS)
    session, _ = begin(ignore_below=0.2, coco=coco)
    session.pictures(find_items(str(tmp_path / "a.png"), tmp_path / "out"))
    coco.write()
    ids = cv2.imread(str(tmp_path / "out" / "ids" / "a.png"), cv2.IMREAD_UNCHANGED)
    unsure = image[..., 1] < 50
    assert np.array_equal(ids, np.where(unsure, 255, image[..., 0] // 50))
    overlay = cv2.imread(str(tmp_path / "out" / "overlay" / "a.png"))[..., ::-1]
    assert np.array_equal(overlay[unsure], image[unsure])
    assert not np.array_equal(overlay[~unsure], image[~unsure])
    # the annotations hold every other pixel once; of cars, one for each region
    content = json.loads((tmp_path / "coco" / "a.json").read_text())
    assert content["images"] == [{"id": 1, "file_name": "a.png", "height": 20, "width": 31}]
    found = np.full(ids.shape, 255)
    for entry in content["annotations"]:
        region = coco_masks.decode(entry["segmentation"]).astype(bool)
        assert (found[region] == 255).all()
        found[region] = entry["category_id"] - 1
    assert np.array_equal(found, ids)
    cars = cv2.connectedComponents((ids == 1).astype(np.uint8), connectivity=8)[0] - 1
    assert [entry["category_id"] for entry in content["annotations"]].count(2) == cars > 1


def test_a_video_of_300_frames_with_flat_memory(begin, tmp_path):
    source = tmp_path / f"film{suffix()}"
    write_video(source, 300, (47, 64))
    session, lines = begin("overlay")
    tracemalloc.start()
    try:
        (written,) = session.video(source, Path("film"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert session.written == 300
    assert peak < 40 * 48 * 64 * 3 * 3  # of 300 frames and their results
    frames, rate = frames_of(written)
    assert (len(frames), rate) == (300, pytest.approx(12.5))
    assert frames[0].shape == (48, 64, 3)
    # the source was padded when it was written
    assert not any("odd" in line for line in lines)


def test_odd_sizes_are_padded_and_said(begin, tmp_path, monkeypatch):
    source = tmp_path / f"film{suffix()}"
    write_video(source, 5)

    class Odd(Video):  # OpenCV writes none
        def frames(self):
            return (frame[:47, :63].copy() for frame in super().frames())

    monkeypatch.setattr(session_module, "Video", Odd)
    for module in (video, session_module):
        monkeypatch.setattr(module, "has_ffmpeg", lambda: False)
    session, lines = begin("color,ids")
    (written,) = session.video(source, Path("film"))
    assert lines[0] == f"{source}: 63x47 is odd, its videos are padded to 64x48"
    assert lines[1].startswith("videos are written as VP8 in .webm")
    frames, rate = frames_of(written)
    assert written.name == "film.webm"
    assert (len(frames), frames[0].shape, rate) == (5, (48, 64, 3), 12.5)
    stills = sorted(path.name for path in (tmp_path / "out" / "ids" / "film").iterdir())
    assert stills == [f"film_{number:07d}.png" for number in range(5)]


def test_videos_that_end_early(begin, tmp_path):
    whole, cut, empty = (tmp_path / f"{name}.avi" for name in ("whole", "cut", "empty"))
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for number in range(60):
        writer.write(np.full((48, 64, 3), 60 + number, np.uint8))
    writer.release()
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    empty.touch()
    session, lines = begin("color")
    (written,) = session.video(cut, Path("cut"))
    assert session.failures == 1
    assert "cut.avi says it has 60 frames, but decoding ends after" in lines[-1]
    assert 10 < len(frames_of(written)[0]) == session.written < 50
    assert session.video(empty, Path("empty")) == []
    assert "empty.avi cannot be opened" in lines[-1]
    assert session.video(99, Path("camera")) == []
    assert "camera:99 cannot be opened" in lines[-1]
    assert session.failures == 3


def test_ctrl_c_leaves_a_playable_video(begin, tmp_path, monkeypatch):
    source = tmp_path / f"film{suffix()}"
    write_video(source, 50)
    session, _ = begin("overlay")
    results = session._results

    def interrupt(pictures):
        if session.written == 20:
            os.kill(os.getpid(), signal.SIGINT)
        return results(pictures)

    monkeypatch.setattr(session, "_results", interrupt)
    with pytest.raises(KeyboardInterrupt):
        session.video(source, Path("film"))
    (written,) = (tmp_path / "out" / "overlay").iterdir()
    assert 20 <= len(frames_of(written)[0]) < 50
    assert written.name == f"film{suffix()}"


def test_outputs_that_cannot_be_written(begin, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/overlay cannot be written \(Not a directory\)"):
        Folder(tmp_path / "file", ("overlay",))
    write(tmp_path / "a.png", drawn())
    session, _ = begin("ids")
    (tmp_path / "out" / "ids" / "a.png").mkdir()
    with pytest.raises(InputError, match=r"ids/a\.png cannot be written \(Is a directory\)"):
        session.pictures(find_items(str(tmp_path / "a.png"), tmp_path / "out"))


def test_a_video_on_a_full_disk(tmp_path):
    (tmp_path / "film.part.mp4").symlink_to("/dev/full")
    writer = open_writer(tmp_path / "film.mp4", 25, (48, 64))

    def fill():
        for seed in range(2000):
            writer.write(drawn(seed, (48, 64)))
        writer.close()

    with pytest.raises(InputError, match=r"film\.mp4 cannot be written \(.*\): free space"):
        fill()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nowhere", "no such file or folder: nowhere; give"),
        ("nowhere/*.png", r"no such file or folder: nowhere/\*\.png"),
        ("{empty}", "hold no image and no video"),
    ],
)
def test_inputs_that_are_not_there(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        find_items(text.format(empty=tmp_path), tmp_path / "out")


def test_names_of_inputs(tmp_path):
    for name in ("x/1.png", "x/y/2.jpg", "x/out/overlay/3.png"):
        write(tmp_path / name, drawn())
    shown = [item.shown.as_posix() for item in find_items(str(tmp_path / "x"), tmp_path / "x/out")]
    assert shown == ["1.png", "y/2.jpg"]
    found = find_items(str(tmp_path / "x" / "**" / "*.jpg"), tmp_path / "x/out")
    assert [item.name.as_posix() for item in found] == ["2"]
    assert camera_number("camera:2") == 2
    assert camera_number("film.mp4") is None
    with pytest.raises(InputError, match="camera:x: a camera is named by its number"):
        camera_number("camera:x")
    with pytest.raises(InputError, match="--save overlays: there is no 'overlays'; choose from"):
        check_kinds("overlays")
    with pytest.raises(InputError, match="it is empty"):
        check_kinds(" ,")


def test_frames_of_a_video_come_in_order(tmp_path):
    path = tmp_path / f"film{suffix()}"
    write_video(path, 9, step=10)
    levels = [int(frame.mean()) for frame in Video(path).frames()]
    assert levels == pytest.approx(list(range(60, 150, 10)), abs=4.9)  # half a step: VP8 loses 4
