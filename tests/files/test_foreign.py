"""Zips, JSON, arrays and checkpoints that carry code, state too much, or are damaged; and mutants of all formats."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mutants import check, mutant
from payload import Payload, pickled, refused, rewritten
from small_files import FILES, FORMATS, TABLES, dwn_checkpoint, nn_model

from lutc.cli import main
from lutc.diagnostics import LirError
from lutc.files import foreign
from lutc.files.pickles import read_checkpoint

DESIGN = "lir 1\n\ndesign d(%x: s6f3[4]) -> (y = %x) {\n}\n"


# -- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [dwn_checkpoint, nn_model], ids=["dwn", "nn"])
@pytest.mark.parametrize("place", ["value", "bare", "name"])
def test_checkpoints_run_nothing(write: Callable[[Path], None], place: str, tmp_path: Path) -> None:
    mark, good, bad = tmp_path / "mark", tmp_path / "good.pt", tmp_path / "bad.pt"
    write(good)
    if place == "value":
        torch.save(torch.load(good, weights_only=True) | {"more": Payload(mark)}, bad)
    elif place == "bare":
        rewritten(good, bad, {"data.pkl": lambda old: pickled(mark) + old})
    else:
        rewritten(
            good, bad, {"data.pkl": lambda old: old.replace(b"ccollections\nOrderedDict\n", b"cos\nmkdir\n")}
        )
    assert "and opening that could run code" in refused(bad, mark)


def checkpoint(data: bytes, **storages: bytes) -> bytes:
    """A checkpoint of a pickle written by hand."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("c/data.pkl", data)
        for key, value in storages.items():
            archive.writestr(f"c/data/{key.removeprefix('k')}", value)
    return file.getvalue()


def tensor(count: int, size: int, stride: int, storage: bytes = bytes(32)) -> bytes:
    """A tensor of a storage of eight float32, described as told."""

    class Tensor:
        def __reduce__(self) -> tuple[Any, ...]:
            return torch._utils._rebuild_tensor_v2, (Stored(), 0, (size,), (stride,), False, {})

    class Stored:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(item, Stored) else None

    file = io.BytesIO()
    Pickler(file, 2).dump({"w": Tensor()})
    return checkpoint(file.getvalue(), k0=storage)


def doubled(count: int) -> bytes:
    """A list of two lists that are one, and so on: without end in text, and 2**count numbers in all."""
    return b"\x80\x02(]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(count)) + b"t."


PICKLES: dict[str, tuple[Callable[[], bytes], str]] = {
    "larger than its storage": (lambda: tensor(1 << 20, 8, 1), "storage 0 has 8 numbers, not 1048576"),
    "beyond its storage": (lambda: tensor(8, 9, 1), "a tensor reaches beyond its storage"),
    "the same number for ever": (
        lambda: tensor(8, 1 << 40, 0),
        "a tensor of 1099511627776 numbers has a storage",
    ),
    "in itself": (lambda: checkpoint(b"\x80\x02]q\x00h\x00a."), "hold each other without end"),
    "doubled": (lambda: checkpoint(doubled(60)), "hold each other without end"),
    "a far memo": (lambda: checkpoint(b"\x80\x02}r\xff\xff\xff\x7fh\x00."), "KeyError"),
    "a long text": (lambda: checkpoint(b"\x80\x02X\xff\xff\xff\x7fa."), "ValueError"),
    "bytes that are not there": (
        lambda: checkpoint(b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f."),
        "no checkpoint",
    ),
    "cut short": (lambda: checkpoint(b"\x80\x02}"), "ValueError"),
    "nothing": (lambda: checkpoint(b""), "ValueError"),
    "a name alone": (lambda: checkpoint(b"\x80\x02ccollections\nOrderedDict\n."), "is cut short"),
    "a method": (lambda: checkpoint(b"\x80\x02ccollections\nOrderedDict\n}b."), "no checkpoint"),
    "an instance": (lambda: checkpoint(b"(ios\nmkdir\n."), "made by the instruction INST"),
    "an extension": (lambda: checkpoint(b"\x80\x02\x82\x01."), "made by the instruction EXT1"),
}


@pytest.mark.parametrize("what", PICKLES)
def test_pickles(what: str) -> None:
    make, message = PICKLES[what]
    with pytest.raises(LirError) as caught:
        read_checkpoint(make(), "c.pt")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_what_a_checkpoint_holds() -> None:
    kinds = [torch.float32, torch.float64, torch.float16, torch.int64, torch.int32, torch.int16, torch.int8]
    saved: dict[str, Any] = {
        "tensors": {
            str(k): torch.arange(6).reshape(2, 3).to(k).t() for k in [*kinds, torch.uint8, torch.bool]
        },
        "parameter": torch.nn.Parameter(torch.ones(2, 2)[:, 1]),
        "number": torch.tensor(1.5),
        "others": [
            1,
            -300,
            1 << 40,
            0.25,
            True,
            False,
            None,
            "text",
            (1,),
            (1, 2, 3, 4),
            torch.Size([3]),
            {},
        ],
        "state": torch.nn.Linear(2, 2).state_dict(),
    }
    for protocol in (2, 4):
        file = io.BytesIO()
        torch.save(saved, file, pickle_protocol=protocol)
        found = read_checkpoint(file.getvalue(), "c.pt")
        for name, value in saved["tensors"].items():
            np.testing.assert_array_equal(found["tensors"][name], value.numpy())
        assert found["parameter"].tolist() == [1.0, 1.0]
        assert found["number"].shape == ()
        assert found["others"] == [*saved["others"][:10], (3,), {}]
        assert list(found["state"]) == ["weight", "bias"]


def test_a_model_larger_than_its_state(tmp_path: Path) -> None:
    """Layers are made as large as the file's parameters, not as its text says."""
    good, bad = tmp_path / "good.pt", tmp_path / "bad.pt"
    nn_model(good)
    content = torch.load(good, weights_only=True)
    content["model"]["args"][0][1]["args"] = [1 << 20, 1 << 20]
    torch.save(content, bad)
    assert "damaged: the model's" in refused(bad, tmp_path / "mark")


# -- arrays -----------------------------------------------------------------------------------------------------------


def header(text: str, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + data


ARRAYS = {
    "8 TiB": (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"),
        "states 8796093022208",
    ),
    "negative": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }"), "damaged"),
    "no bytes": (header("{'descr': '|V0', 'fortran_order': False, 'shape': (1099511627776,), }"), "damaged"),
    "call": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (exit(),), }"), "no array of numbers"),
    "unclosed": (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1,"), "no array of numbers"),
    "objects": (
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"." * 8),
        "Python objects",
    ),
    "objects inside": (
        header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }"),
        "Python objects",
    ),
    "nested": (header("{'descr': " + "[" * 900 + "]" * 900 + "}"), "no array of numbers"),
    "pickle": (pickle.dumps([1]), "no array of numbers"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize("option", ["--calibrate", "--test-data"])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_arrays_of_users(what: str, option: str, kind: str, tmp_path: Path) -> None:
    data, message = ARRAYS[what]
    if what == "empty" and kind == "npz":
        message = "no array of numbers"
    model, path = tmp_path / "d.lir", tmp_path / f"x.{kind}"
    model.write_text(DESIGN)
    path.write_bytes(data)
    if kind == "npz":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("x.npy", data)
    assert message in refused(model, tmp_path / "mark", option, str(path))


def test_objects_in_arrays_do_not_run(tmp_path: Path) -> None:
    mark, model = tmp_path / "mark", tmp_path / "d.lir"
    model.write_text(DESIGN)
    array = np.array([Payload(mark)], dtype=object)
    np.save(tmp_path / "x.npy", array)
    np.savez(tmp_path / "x.npz", x=array)
    for path in (tmp_path / "x.npy", tmp_path / "x.npz"):
        assert "Python objects" in refused(model, mark, "--test-data", str(path))
        told = CliRunner().invoke(
            main, ["run", str(model), "--input", str(path), "--output", str(tmp_path / "y.npy")]
        )
        assert told.exit_code == 2
        assert not mark.exists()
    tables = tmp_path / "t.npz"
    np.savez(tables, network=np.array(json.dumps(TABLES | {"notes": "@x"})), x=array)
    assert "Python objects" in refused(tables, mark)


def test_arrays_come_back(tmp_path: Path) -> None:
    for array in (
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.ones((2, 3))),
        np.zeros((0, 3)),
        np.array(1.5),
    ):
        np.save(tmp_path / "x.npy", array)
        found = foreign.read_arrays(tmp_path / "x.npy")
        assert isinstance(found, np.ndarray)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("how", ["parent", "absolute", "link"])
def test_arrays_beside_a_text_are_beside_it(how: str, tmp_path: Path) -> None:
    home, secret = tmp_path / "home", tmp_path / "secret.npy"
    home.mkdir()
    np.save(secret, np.array([1.0, 2.0]))
    (home / "w.npy").symlink_to(secret)
    name = {"parent": "../secret.npy", "absolute": str(secret), "link": "w.npy"}[how]
    path = home / "d.lir"
    path.write_text(DESIGN.replace("lir 1\n", f'lir 1\n\nconst @w: s4[2] = file "{name}"\n'))
    assert "lies outside the folder of this text" in refused(path, tmp_path / "mark")


# -- tables -----------------------------------------------------------------------------------------------------------

LAYER = TABLES["layers"][0]
DOCUMENTS: dict[str, tuple[Any, str]] = {
    "frac": ({"layers": [LAYER | {"frac": 10**9}]}, "frac is 1000000000"),
    "format": ({"input": {"name": "x", "size": 2, "format": "u2f999999"}}, "u2f999999 is too large"),
    "format of a tensor": ({"input": {"name": "x", "size": 2, "format": "u2[999999999]"}}, "error"),
    "size": ({"input": {"name": "x", "size": 10**9, "format": "u2"}}, "its size is 1000000000"),
    "size, true": ({"input": {"name": "x", "size": True, "format": "u2"}}, "its size is True"),
    "notes": ({"notes": 5}, "notes is 5 and no list"),
    "note": ({"notes": [5]}, "note 0: it is 5 and no text"),
    "name": ({"name": []}, "name is [] and no text"),
    "digits": (
        {"layers": [LAYER | {"tables": [[0, 1, 2, 10**4000], *LAYER["tables"][1:]]}]},
        "no format holds",
    ),
    "ragged": (
        {"layers": [LAYER | {"tables": [[[0], [1, 2]], *LAYER["tables"][1:]]}]},
        "no list of integers",
    ),
    "words": (
        {"layers": [LAYER | {"tables": [["x" * 9999] * 4, *LAYER["tables"][1:]]}]},
        "no list of integers",
    ),
    "version": ({"lutc tables": [1]}, "its version is [1]"),
    "far threshold": ({"encoder": {"thresholds": [[10**4000], [0]]}}, "is no number"),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_tables(what: str, tmp_path: Path) -> None:
    change, message = DOCUMENTS[what]
    path = tmp_path / "t.json"
    path.write_text(json.dumps(TABLES | change))
    text = refused(path, tmp_path / "mark")
    assert message in text
    assert len(text) < 500


@pytest.mark.parametrize("text", ["[" * 60000 + "]" * 60000, '{"a": ' * 60000 + "1" + "}" * 60000])
def test_nesting(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text('{"lutc tables": ' + text + "}")
    assert "nests deeper than 100 levels" in refused(path, tmp_path / "mark")


def test_brackets_in_texts_are_no_nesting() -> None:
    text = json.dumps({"a": "[" * 500 + '\\"{' * 500})
    assert foreign.read_json(text, "t") == json.loads(text)


# -- zips -------------------------------------------------------------------------------------------------------------


def test_names_of_members_are_names_alone(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("../../up", b"1")
        file.writestr("/root", b"2")
    with foreign.opened(path, "z") as members:
        assert [members.read(n) for n in members.names] == [b"1", b"2"]
    assert os.listdir(tmp_path) == ["z.zip"]


def test_a_member_gives_no_more_than_it_states(tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1 << 20))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + 24
    data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    with foreign.opened(path, "z") as members, pytest.raises(LirError, match="'a' is damaged"):
        members.read("a")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression(method: int, tmp_path: Path) -> None:
    path = tmp_path / "z.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("a", b"1")
    with foreign.opened(path, "z") as members, pytest.raises(LirError, match="compressed in an unusual way"):
        members.read("a")


# -- mutants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_mutants(name: str, tmp_path: Path) -> None:
    """`tools/fuzz --files` makes many more."""
    path = tmp_path / name
    FILES[name](path)
    good = path.read_bytes()
    options = {"input_types": FORMATS[name]} if name in FORMATS else {}
    check(path, **options)
    for seed in range(20):
        path.write_bytes(mutant(good, random.Random(f"{name} {seed}")))
        check(path, **options)


def test_a_text_without_end_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero.lir").symlink_to("/dev/zero")
    with (tmp_path / "large.lir").open("wb") as file:
        file.truncate(3 << 30)
    for name in ("zero.lir", "large.lir"):
        with pytest.raises(LirError, match="is longer than 256 MiB"):
            foreign.read_text(tmp_path / name)
