"""A sample of what `tools/options nn` tries: every setting is exact, or refused for a reason."""

from __future__ import annotations

import pytest
from nn_options import settings
from settings import Setting, judge, sampled


@pytest.mark.parametrize("setting", sampled(settings(), 70), ids=lambda s: s.name)
def test_setting(setting: Setting) -> None:
    result = judge(setting)
    assert result.verdict.fine, f"{result.verdict}: {result.detail}"
