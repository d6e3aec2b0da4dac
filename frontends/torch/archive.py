"""A `.pt2` file without what could run: checked member by member, and written anew for PyTorch to load.

`torch.export.load` trusts its files. It unpickles weights, constants, sample inputs and objects that are marked so; it
evaluates shapes as Python; it imports the modules that trees of arguments name, pastes names into the code it
generates, and calls any function of `torch` that a node asks for. Nothing of that reaches it from here: pickles are
read by `lutc.files.pickles`, `program` checks the graph, and the archive that is handed on holds what passed and
nothing else. Both layouts are read: the archive of PyTorch 2.8 and newer, and the zip of older ones.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import torch

from lutc.diagnostics import error
from lutc.files.foreign import Members, opened, shown
from lutc.files.pickles import read_checkpoint
from lutc.lowering.refusals import Refusal

from .program import checked, length, plain

SAVE = "save it with torch.export.save(torch.export.export(model.eval(), example_inputs), path)"
PLAIN = "save a program whose weights and inputs are plain tensors"
# What an archive of the newer layout holds besides the model. Compiled code is never looked at.
COMPILED = ("data/aotinductor/", "data/executorch/", "executorch/")


def harmless(path: Path) -> io.BytesIO:
    """The program of a `.pt2` file, as an archive of the same layout with the checked parts alone.

    Raises LirError for a file that holds anything that could run, and for one that is damaged or no such archive.
    """
    where = str(path)
    with opened(path, where, "program of torch.export that can be read", SAVE) as members:
        try:
            if "serialized_exported_program.json" in members:
                return _old(members, where)
            return _new(members, where)
        except Refusal as cause:
            raise error(cause.reason, where=where, help=cause.help or SAVE) from None


# -- PyTorch 2.8 and newer --------------------------------------------------------------------------------------------


def _new(members: Members, where: str) -> io.BytesIO:
    root = next(
        (n.removesuffix("archive_format") for n in members.names if n.endswith("/archive_format")), ""
    )
    if not root or root.count("/") != 1 or members.read(root + "archive_format", 16) != b"pt2":
        raise Refusal("is no program of torch.export that can be read: it is another kind of zip")
    names = [n.removeprefix(root) for n in members.names if n.startswith(root)]
    if compiled := next((n for n in names if n.startswith(COMPILED)), None):
        raise Refusal(
            f"holds compiled code ({shown(compiled)}), which is not run to find out what it computes"
        )
    if "models/model.json" not in names:
        raise Refusal("is no program of torch.export that can be read: it holds no model named 'model'")
    parts: dict[str, bytes] = {"archive_format": b"pt2", "byteorder": b"little", ".data/version": b"6\n"}
    parts["version"] = b"6\n"
    parts["archive_version"] = members.read(root + "archive_version", 16)
    if "byteorder" in names and members.read(root + "byteorder", 16) != b"little":
        raise Refusal("was written on a machine of another byte order", "save it on a little-endian one")
    for name in names:
        if name.startswith("extra/"):
            _refuse_pickle(members.read(root + name), name)
    sample = "data/sample_inputs/model.pt"
    if sample in names:
        _artifact(members.read(root + sample), f"{where}: {sample}")
    parts[sample] = b""
    for kind, file in (
        ("weights", "model_weights_config.json"),
        ("constants", "model_constants_config.json"),
    ):
        folder = f"data/{kind}/"
        if f"{folder}model.pt" in names:  # as PyTorch 2.7 wrote it
            stored = _artifact(members.read(f"{root}{folder}model.pt"), f"{where}: {folder}model.pt")
            parts[f"{folder}model.pt"] = _saved(stored)
            continue
        config = _payloads(members.json(f"{root}{folder}{file}"), folder)
        for meta in config.values():
            data = members.read(f"{root}{folder}{meta['path_name']}") if meta["path_name"] else b""
            _fits(meta, len(data), f"{folder}{meta['path_name']}")
            parts[folder + meta["path_name"]] = data
        parts[folder + file] = json.dumps({"config": config}).encode()
    parts["models/model.json"] = json.dumps(checked(members.json(root + "models/model.json"))).encode()
    return _zipped({f"model/{name}": data for name, data in parts.items()})


def _payloads(document: Any, folder: str) -> dict[str, dict[str, Any]]:
    """The tensors of a config, by the names of the model. Raises Refusal for those that are pickled."""
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise Refusal("is damaged: the list of its tensors is none")
    for name, meta in config.items():
        if not isinstance(meta, dict) or not isinstance(meta.get("path_name"), str):
            raise Refusal(f"is damaged: {shown(name)} is in no file")
        path = meta["path_name"]
        if meta.get("use_pickle") is not False or not isinstance(meta.get("tensor_meta"), dict):
            what = f"{folder}{path}"
            raise Refusal(
                f"keeps {shown(name)} as a pickle ({shown(what)}), and opening that could run code", PLAIN
            )
        if not path.startswith(("weight_", "tensor_")) or not path.split("_", 1)[1].isdecimal():
            raise Refusal(f"keeps {shown(name)} in {shown(path)}, where no tensor is kept", PLAIN)
        plain(name)
        plain(meta)
    return config


# Bytes of an element, by the numbers that the format has for kinds of numbers.
BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 9: 4, 10: 8, 11: 16, 12: 1, 13: 2, 28: 2}


SPREAD = 1 << 20  # bytes of a tensor that shows the same elements several times


def _fits(meta: dict[str, Any], stored: int, what: str) -> None:
    """Raise Refusal unless a tensor lies within the bytes of its member."""
    about = meta["tensor_meta"]
    size = BYTES.get(about.get("dtype"), 1)
    lengths = [length(n) for n in _list(about.get("sizes"))]
    strides = [length(n) for n in _list(about.get("strides"))]
    start = length(about.get("storage_offset"))
    count = math.prod(lengths)
    last = start + sum((n - 1) * s for n, s in zip(lengths, strides, strict=False))
    if (
        len(lengths) != len(strides)
        or (count and (last + 1) * size > stored)
        or count * size > max(stored, SPREAD)
    ):
        raise Refusal(f"is damaged: {shown(what)} holds {stored} bytes, and its tensor {lengths} needs more")


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refusal("is damaged: a tensor has no shape")
    return value


# -- PyTorch before 2.8 -----------------------------------------------------------------------------------------------


def _old(members: Members, where: str) -> io.BytesIO:
    parts = {"version": members.read("version", 64)}
    for name in members.names:
        if name.startswith("extra_files"):
            _refuse_pickle(members.read(name), name)
    program = checked(members.json("serialized_exported_program.json"))
    parts["serialized_exported_program.json"] = json.dumps(program).encode()
    owned = {
        spec["parameter"]["parameter_name"]
        for spec in program["graph_module"]["signature"]["input_specs"]
        if "parameter" in spec
    }
    for name in ("serialized_state_dict", "serialized_constants", "serialized_example_inputs"):
        # Older ones yet called the pickles .json.
        file = next((f for f in (f"{name}.pt", f"{name}.json") if f in members), None)
        stored = _artifact(members.read(file), f"{where}: {file}") if file else {}
        if name == "serialized_example_inputs":
            parts[f"{name}.pt"] = b""
        else:
            parts[f"{name}.pt"] = _saved(stored, owned if name == "serialized_state_dict" else ())
    return _zipped(parts)


# -- pickles ----------------------------------------------------------------------------------------------------------


def _artifact(data: bytes, where: str) -> Any:
    """What a member that torch.save wrote holds: tensors, as arrays. Raises LirError if it could run anything."""
    return read_checkpoint(data, where, PLAIN) if data else {}


def _saved(stored: Any, owned: Any = ()) -> bytes:
    """A dict of arrays as torch.save writes it; those in `owned` as parameters."""
    if not isinstance(stored, dict):
        raise Refusal("is damaged: its weights have no names")
    tensors = {}
    for name, array in stored.items():
        plain(name)
        if not hasattr(array, "dtype"):
            raise Refusal(f"keeps {shown(name)}, which is no tensor", PLAIN)
        tensor = torch.from_numpy(array)
        tensors[name] = torch.nn.Parameter(tensor, tensor.is_floating_point()) if name in owned else tensor
    file = io.BytesIO()
    torch.save(tensors, file)
    return file.getvalue()


def _refuse_pickle(data: bytes, name: str) -> None:
    """Raise Refusal if an extra file, which is text, is a pickle: nothing reads it here, but somebody might."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or _is_pickle(data):
        raise Refusal(
            f"holds the extra file {shown(name)}, which is no text", "leave it away: extra_files are text"
        )


def _is_pickle(data: bytes) -> bool:
    import pickletools

    try:
        calls = {op.name for op, _, _ in pickletools.genops(data)}
    except (ValueError, IndexError):
        return False
    return not calls.isdisjoint({"GLOBAL", "STACK_GLOBAL", "INST", "REDUCE", "OBJ", "NEWOBJ"})


def _zipped(parts: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
        for name, data in parts.items():
            target.writestr(name, data)
    file.seek(0)
    return file
