import kills
import pytest


@pytest.mark.long
def test_ten_kills(tmp_path, monkeypatch):
    for name in ("DETECTRON2_DATASETS", "COPT_D2_CACHE"):
        monkeypatch.setenv(name, "")  # so that they are set back afterwards
    campaign = kills.Campaign(tmp_path, seed=1)
    campaign.run(10)
    assert campaign.kills.total() == 10
    assert campaign.unequal == []
