"""Every report is what its schema says: no field is missing, none is there that the schema does not describe."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

import lutc
from lutc.choices import DSP_MODES, EFFORTS, OBJECTIVES
from lutc.types import Overflow, Rounding

ROOT = Path(__file__).resolve().parents[2]
SCHEMA: dict[str, Any] = json.loads((resources.files("lutc.ir_spec") / "report.schema.json").read_text())


def design() -> lutc.Design:
    b = lutc.Builder("tagger")
    x = b.input("x", "s6f3[4]", scale=Fraction(1, 8), offset=-1)
    empty = b.input("empty", "u0")
    w = b.constant("w", "s6f2[4, 2]", [[1.25, -0.5], [0, 7.75], [-2, 1], [3.25, 0.25]])
    with b.origin("dense_1"):
        h = b.dense(x, w)
    s = b.quant(h, to="<s6f2, s7f2>[2]", round="nearest-half-up", overflow="saturate")
    b.output("score", s)
    b.output("best", b.argmax(s, origin="answer"))
    b.output("none", empty)
    tables = b.table("t", "u5", "u6", [(k * k) // 16 for k in range(32)])
    b.output("tables", b.sum(b.lut(b.input("keys", "u5[3]"), tables)))
    b.note("made by hand")
    return b.design()


ASSUMED = {"x": np.full((2, 4), -1), "empty": np.zeros(2), "keys": np.ones((2, 3))}
BUILDS: dict[str, dict[str, Any]] = {
    "exact": {"stages": 0},
    "vhdl": {"stages": 0, "hdl": "vhdl"},
    "registers": {"clock_ns": 2.5, "clock_enable": True, "valid": True},
    "the usual clock": {"target": "ice40up5k"},
    "fast": {"effort": "fast", "stages": 2},
    "high": {"effort": "high", "stages": 1},
    "dsp": {"dsp": "all", "stages": 1},
    "approximate": {"approx_lsb": 4.0, "stages": 1},
    "no approximation pays": {"approx_lsb": 0.5, "stages": 0},
    "assume": {"assume_inputs": ASSUMED, "assume_check": ASSUMED, "assume_margin": 0, "stages": 1},
    "assume, nothing held out": {"assume_inputs": ASSUMED, "stages": 0},
    "too fast a clock": {"clock_ns": 2.6, "target": "ice40up5k"},
}


def objects(found: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a report or a schema, with the way to it."""
    if isinstance(found, dict):
        yield path, found
    parts = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, part in parts:
        yield from objects(part, f"{path}/{key}")


@pytest.mark.parametrize("name", BUILDS)
def test_reports_are_what_the_schema_says(name: str, tmp_path: Path) -> None:
    build = lutc.compile(design(), **BUILDS[name])
    rows = {"x": np.zeros((3, 4)), "empty": np.zeros(3), "keys": np.ones((3, 3))}
    folder = build.write(tmp_path / "build", vectors=4, user_vectors=rows)
    report = json.loads((folder / "report.json").read_text())
    if "approximat" in name:
        assert (build.approximation is not None) == (name == "approximate")
    if "assume" in name:
        assert build.assumption and "assumption" in report
    for found in (build.report, report):
        jsonschema.validate(found, SCHEMA, jsonschema.Draft202012Validator)


def test_a_field_that_nobody_describes_is_seen() -> None:
    """In every object of a report: one too many, and each one missing."""
    report = lutc.compile(design(), stages=1, approx_lsb=4).report
    report |= {"assumption": lutc.compile(design(), **BUILDS["assume"]).report["assumption"]}
    check = jsonschema.Draft202012Validator(SCHEMA)
    assert check.is_valid(report) and "approximation" in report and report["assumption"]["check"]
    seen = 0
    for path, _ in objects(report):
        for key in (None, *dict(objects(report))[path]):
            changed = copy.deepcopy(report)
            here = dict(objects(changed))[path]
            if key is None:
                here["colour"] = "red"
            elif key in ("approximation", "assumption"):
                continue
            else:
                del here[key]
            assert not check.is_valid(changed), (path, key)
            seen += 1
    assert seen > 60


def test_the_schema_is_one_and_describes_everything() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for path, found in objects(SCHEMA):
        if path.endswith("/properties"):
            parts = [
                SCHEMA["$defs"][p["$ref"].rpartition("/")[2]] | p if "$ref" in p else p
                for p in found.values()
            ]
            assert all(p.get("description", "").endswith(".") for p in parts), path
        if found.get("type") == "object":
            assert found["additionalProperties"] is False and found["description"], path
    assert SCHEMA["properties"]["effort"]["enum"] == list(EFFORTS)
    assert SCHEMA["properties"]["objective"]["enum"] == list(OBJECTIVES)
    assert SCHEMA["properties"]["dsp"]["enum"] == list(DSP_MODES)
    port = SCHEMA["$defs"]["input"]["properties"]
    assert port["round"]["enum"] == [r.value for r in Rounding]
    assert port["overflow"]["enum"] == [o.value for o in Overflow]


def test_writing_leaves_the_build_as_it_is(tmp_path: Path) -> None:
    """An approximation is measured on the rows given for a folder; the build keeps what it had."""
    build = lutc.compile(design(), stages=0, approx_lsb=4)
    before = copy.deepcopy(build.report)
    rows = {
        "x": np.random.default_rng(0).uniform(-2, 2, (7, 4)),
        "empty": np.zeros(7),
        "keys": np.ones((7, 3)),
    }
    written = json.loads(
        (build.write(tmp_path / "a", vectors=4, user_vectors=rows) / "report.json").read_text()
    )
    assert build.report == before and before["approximation"]["measured_on"] == "random vectors"
    assert written["approximation"]["vectors"] == 7
    assert written["approximation"]["measured_on"] == "rows of test data"
    again = json.loads((build.write(tmp_path / "b", vectors=4) / "report.json").read_text())
    assert again == before


def test_the_page_is_what_the_schema_says() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(ROOT / "tools" / "reportdoc"), "--check"]
    assert subprocess.run(command, env=environment, check=False).returncode == 0, "run tools/reportdoc"
