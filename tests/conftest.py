"""What all tests share: the tools they may need, and the rule that a skipped test is a failed one.

A test that quietly skips because a simulator is missing says nothing about the hardware, so outside
``tools/test --quick`` (which sets LUTC_QUICK=1) a missing tool fails, and so does any other skip.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Generator

import pytest

QUICK = os.environ.get("LUTC_QUICK") == "1"


def _missing(what: str) -> None:
    if QUICK:
        pytest.skip(f"{what} is not installed here")
    pytest.fail(f"{what} is not installed: run tools/setup test, or tools/test --quick", pytrace=False)


def need_tool(name: str) -> str:
    """The path of the command `name`; the test skips without it in a quick run and fails in any other."""
    path = shutil.which(name)
    if path is None:
        _missing(f"the command {name}")
    return path or ""


def need_module(name: str) -> None:
    """As :func:`need_tool`, for a Python module; it is looked up, not imported."""
    if importlib.util.find_spec(name) is None:
        _missing(f"the Python module {name}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite the answers that files under tests/ carry")


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether files are to be rewritten as the code now answers."""
    return bool(request.config.getoption("--bless"))


@pytest.fixture(name="need_tool")
def _need_tool() -> Callable[[str], str]:
    """:func:`need_tool`, for tests that would rather not import it."""
    return need_tool


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not QUICK and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a test may skip in tools/test --quick only: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
