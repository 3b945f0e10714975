import pytest
import timm_encoders


@pytest.mark.long
def test_one_encoder_of_each_architecture():
    names = timm_encoders.chosen([], each=1)
    assert len(names) > 80
    verdicts = {name: timm_encoders.judge(name) for name in names}
    taken = [name for name, verdict in verdicts.items() if verdict.startswith("takes")]
    assert len(taken) > 50
    assert all(verdict.startswith(("takes", "refused: ")) for verdict in verdicts.values())
