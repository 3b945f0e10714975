import json
import logging
from types import SimpleNamespace

import pytest
from detectron2.utils.events import EventStorage, EventWriter, JSONWriter

from copt_d2.engine.metrics import LogWriter, WriteEvents, cut_metrics, values_of_step


def test_losses_and_evaluations_are_written_at_once():
    calls = []

    class Writer(EventWriter):
        def write(self):
            calls.append(hook.trainer.iter + 1)

    hook = WriteEvents([Writer()], [4, 5, 0])
    hook.trainer = SimpleNamespace(max_iter=11)
    for hook.trainer.iter in range(11):
        hook.after_step()
    assert calls == [4, 5, 8, 10, 11]


def lines_of(*numbers):
    return [json.dumps({"iteration": n, "loss": 0.5 * n}) for n in numbers]


def test_metrics_that_are_written_again_go(tmp_path):
    path = tmp_path / "metrics.json"
    lines = lines_of(9, 19, 29)
    path.write_text("\n".join([*lines, '{"iteration": 39, "lo']))  # a kill cut the last line
    assert not cut_metrics(path, 29)
    assert path.read_text() == f"{lines[0]}\n{lines[1]}\n"
    assert not cut_metrics(path, 0)
    assert path.read_text() == ""
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.json"]
    assert not cut_metrics(tmp_path / "none.json", 0)
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize("rest", ["", "3", "[3]\n", '{"iteration": 30'])
def test_whether_the_last_line_is_there(tmp_path, rest):
    path = tmp_path / "metrics.json"
    path.write_text("\n".join([*lines_of(9, 19), rest]))
    assert cut_metrics(path, 20)
    assert path.read_text() == "".join(f"{line}\n" for line in lines_of(9, 19))
    assert not cut_metrics(path, 21)


def test_the_log_shows_the_numbers_of_the_file(tmp_path, caplog):
    """Losses of every second step: detectron2's line has medians over 20 steps, the file none."""
    caplog.set_level(logging.INFO, "detectron2.utils.events")
    writers = [LogWriter(100), JSONWriter(str(tmp_path / "metrics.json"))]
    with EventStorage(0) as storage:
        for step, loss in ((1, 8.0), (3, 4.0), (5, 0.1234567)):
            storage.iter = step
            storage.put_scalar("loss_a", loss, smoothing_hint=False)
            storage.put_scalars(time=step / 100, data_time=step / 1000)
            storage.put_scalar("lr", 1e-4, smoothing_hint=False)
            for writer in writers:
                writer.write()
        shown = values_of_step(storage)
    line = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert {**shown, "iteration": 5} == line
    # medians of 0.01, 0.03, 0.05 and of a tenth of them
    assert caplog.messages[-1].partition("  ")[2] == (
        "iter: 5  loss_a: 0.1235  time: 0.0300  data_time: 0.0030  lr: 0.0001"
    )


def test_the_log_says_nothing_of_scores_and_old_losses(caplog):
    caplog.set_level(logging.INFO, "detectron2.utils.events")
    with EventStorage(3) as storage:
        storage.put_scalar("loss_a", 8.0, smoothing_hint=False)
        storage.iter = 4
        LogWriter(5).write()
        storage.iter = 5
        LogWriter(5).write()
    assert [message.strip() for message in caplog.messages] == ["iter: 4"]
