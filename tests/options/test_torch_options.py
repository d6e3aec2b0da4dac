"""A sample of what `tools/options torch` tries: every setting is exact, or refused for a reason."""

from __future__ import annotations

import pytest
from settings import Setting, judge, sampled
from torch_options import settings


@pytest.mark.parametrize("setting", sampled(settings(), 60), ids=lambda s: s.name)
def test_setting(setting: Setting) -> None:
    result = judge(setting)
    assert result.verdict.fine, f"{result.verdict}: {result.detail}"
