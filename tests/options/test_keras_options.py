"""A sample of the settings of tools/options for Keras and HGQ2."""

from __future__ import annotations

from keras_options import settings
from settings import judge, sampled


def test_a_sample_of_keras_settings() -> None:
    results = [judge(s) for s in sampled(settings(), 250, seed=3)]
    wrong = [f"{r.verdict}: {r.setting.name}: {r.detail}" for r in results if not r.verdict.fine]
    assert not wrong, "\n".join(wrong)
    assert sum(r.verdict == "exact" for r in results) > 150
