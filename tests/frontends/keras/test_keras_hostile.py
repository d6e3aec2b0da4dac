"""Keras's files that reach for other files, carry code, or state more than they hold."""

from __future__ import annotations

import base64
import json
import marshal
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from keras_zoo import keras
from payload import pickled, refused, rewritten

import lutc

FORMAT = ("--input-type", "s8f2")
KERNEL = "layers/dense/vars/0"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer with weights of steps."""
    path: Path = tmp_path_factory.mktemp("keras") / "good.keras"
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
    model.layers[1].set_weights([np.arange(12.0).reshape(4, 3) / 4, np.ones(3)])
    model.save(path)
    return path


def with_weights(good: Path, target: Path, change: Callable[[Any], Any]) -> Path:
    """The file with a change in its HDF5."""
    weights = target.parent / "w.h5"
    with zipfile.ZipFile(good) as file:
        weights.write_bytes(file.read("model.weights.h5"))
    with h5py.File(weights, "a") as file:
        change(file)
    return rewritten(good, target, {"model.weights.h5": weights.read_bytes()})


def instead(file: Any, name: str = KERNEL) -> tuple[Any, str]:
    """The group of a dataset that was taken away, and its name there."""
    del file[name]
    group, _, last = name.rpartition("/")
    return file[group], last


def external(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group.create_dataset(name, (4, 3), "f4", external=[(str(secret), 0, 48)])


def virtual(file: Any, secret: Path) -> None:
    group, name = instead(file)
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource(str(secret), "w", (4, 3))
    group.create_virtual_dataset(name, layout)


def link(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group[name] = h5py.ExternalLink(str(secret), "w")


def group_link(file: Any, secret: Path) -> None:
    del file["layers/dense"]
    file["layers"]["dense"] = h5py.ExternalLink(str(secret), "/")


def soft(file: Any, secret: Path) -> None:
    group, name = instead(file)
    file["elsewhere"] = np.zeros((4, 3), "f4")
    group[name] = h5py.SoftLink("/elsewhere")


def dangling(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group[name] = h5py.SoftLink("/nowhere")


def circle(file: Any, secret: Path) -> None:
    file["layers/dense/round"] = file["layers"]


def twice(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group[name] = file["layers/dense/vars/1"]


def foreign_filter(file: Any, secret: Path) -> None:
    """LZF, which h5py registers, stands for any filter that HDF5 itself has not."""
    group, name = instead(file)
    group.create_dataset(name, data=np.zeros((4, 3), "f4"), compression="lzf")


def references(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group.create_dataset(name, data=[file["layers"].ref], dtype=h5py.ref_dtype)


def text(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group[name] = ["a"] * 12


def not_there(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group.create_dataset(name, (1 << 34,), "f4")


def chunks_not_there(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group.create_dataset(name, (1 << 20, 1 << 14), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")


def bomb(file: Any, secret: Path) -> None:
    group, name = instead(file)
    group.create_dataset(name, (1 << 14, 1 << 15), "f4", chunks=(1 << 14, 1 << 10), compression="gzip")


def packed_lie(file: Any, secret: Path) -> None:
    """A chunk that unpacks to far more than its 48 bytes."""
    import zlib

    group, name = instead(file)
    data = group.create_dataset(name, (4, 3), "f4", chunks=(4, 3), compression="gzip")
    data.id.write_direct_chunk((0, 0), zlib.compress(bytes(1 << 20)))


HDF5: dict[Callable[[Any, Path], Any], str] = {
    external: "in another file, which is not read",
    virtual: "in another file, which is not read",
    link: "a link to another file",
    group_link: "a link to another file",
    soft: "a soft link",
    dangling: "a soft link",
    circle: "one object under two names",
    twice: "one object under two names",
    foreign_filter: "with filters that are not known here",
    references: "has no numbers",
    text: "has no numbers",
    not_there: "states 68,719,476,736 bytes",
    chunks_not_there: "more than is read",
    bomb: "chunks in",
    packed_lie: "does not unpack to its 48 bytes",
}


@pytest.mark.parametrize("change", HDF5, ids=lambda c: c.__name__)
def test_only_what_the_file_itself_holds(
    good: Path, change: Callable[[Any, Path], Any], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["w"] = np.ones((4, 3), "f4")
    path = with_weights(good, tmp_path / "bad.keras", lambda file: change(file, secret))
    message = refused(path, tmp_path / "mark", *FORMAT)
    assert "bad.keras: model.weights.h5: error: " in message
    assert HDF5[change] in message
    assert " = help: " in message


def test_compressed_weights_are_taken(good: Path, tmp_path: Path) -> None:
    def packed(file: Any) -> None:
        kernel = file[KERNEL][()]
        group, name = instead(file)
        options: dict[str, Any] = {
            "chunks": (3, 2),
            "compression": "gzip",
            "shuffle": True,
            "fletcher32": True,
        }
        group.create_dataset(name, data=kernel, **options)

    x = [[0.5, -1.0, 2.0, 0.25]]
    path = with_weights(good, tmp_path / "packed.keras", packed)
    assert (
        lutc.load(path, input_types="s8f2").run(x).tolist()
        == lutc.load(good, input_types="s8f2").run(x).tolist()
    )


@pytest.mark.parametrize("change", [external, virtual, link, soft, circle], ids=lambda c: c.__name__)
def test_the_older_format_too(change: Callable[[Any, Path], Any], good: Path, tmp_path: Path) -> None:
    path, secret = tmp_path / "m.h5", tmp_path / "secret.h5"
    keras.models.load_model(good).save(path)
    with h5py.File(secret, "w") as file:
        file["w"] = np.ones((4, 3), "f4")
    with h5py.File(path, "a") as file:
        (kernel,) = (n for n in _datasets(file) if n.endswith("kernel"))
        group, name = instead(file, kernel)
        if change is circle:
            group[name] = group
        else:
            layers = file.create_group("layers/dense")
            layers["vars/0"], layers["vars/1"] = np.zeros(1), np.zeros(1)
            change(file, secret)
            group.move(f"/{KERNEL}", f"{group.name}/{name}")
    message = refused(path, tmp_path / "mark", *FORMAT)
    assert "m.h5: error: " in message


def _datasets(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def test_hdf5_under_the_other_name(good: Path, tmp_path: Path) -> None:
    """As older versions of TensorFlow write it."""
    old = tmp_path / "m.h5"
    keras.models.load_model(good).save(old)
    named = old.rename(tmp_path / "m.keras")
    x = [[0.5, -1.0, 2.0, 0.25]]
    assert lutc.load(named, input_types="s8f2").run(x).tolist() == [[3.8125, 4.25, 4.6875]]


# -- the config and the zip ---------------------------------------------------------------------------------------


def lambda_layer(mark: Path) -> bytes:
    """A Lambda layer, whose function Keras stores as marshalled code."""
    code = compile(f"__import__('os').mkdir({str(mark)!r})", "x", "eval")
    stored = {"class_name": "__lambda__", "config": {"code": base64.b64encode(marshal.dumps(code)).decode()}}
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": ["x", 0, 0]}}
    layers = [
        {"class_name": "InputLayer", "name": "x", "config": {"name": "x", "batch_shape": [None, 4]}}
        | {"module": "keras.layers", "inbound_nodes": []},
        {"class_name": "Lambda", "name": "run", "config": {"name": "run", "function": stored}}
        | {"module": "keras.layers", "inbound_nodes": [{"args": [tensor], "kwargs": {}}]},
    ]
    config = {"name": "m", "layers": layers, "input_layers": [["x", 0, 0]], "output_layers": [["run", 0, 0]]}
    return json.dumps({"class_name": "Functional", "module": "keras", "config": config}).encode()


CONFIGS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "code": (lambda m: lambda_layer(m), "it holds Python code"),
    "pickle": (lambda m: pickled(m), "this is no JSON that can be read"),
    "nesting": (lambda m: b"[" * 5000 + b"]" * 5000, "nests deeper than 100 levels"),
    "twice": (lambda m: b'{"config": 1, "config": 2}', "the key 'config' stands twice"),
    "digits": (lambda m: b'{"config": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
    "half a letter": (lambda m: b'{"config": "\\ud800"}', "surrogates not allowed"),
    "number": (lambda m: b"5", "describes no model"),
    "wrong kinds": (
        lambda m: b'{"class_name": "Functional", "config": {"layers": 7}}',
        "is not as Keras 3 writes it",
    ),
    "wrong layers": (
        lambda m: (
            b'{"class_name": "Functional", "config": {"layers": [{"class_name": "Dense", "config": 5}]}}'
        ),
        "is not as Keras 3 writes it",
    ),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_the_config(good: Path, what: str, tmp_path: Path) -> None:
    make, message = CONFIGS[what]
    mark = tmp_path / "mark"
    path = rewritten(good, tmp_path / "bad.keras", {"config.json": make(mark)})
    assert message in refused(path, mark, *FORMAT)


def test_members_that_are_not_needed_are_not_read(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(good.read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file, file.open("more.bin", "w") as member:
        member.write(bytes(1 << 20))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"more.bin") - 46 + 8] |= 1  # what the archive's directory says: it is encrypted
    path.write_bytes(data)
    assert lutc.load(path, input_types="s8f2").run([[0.0] * 4]).tolist() == [[1.0] * 3]


def test_a_member_that_states_too_much(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.keras"
    data = bytearray(good.read_bytes())
    at = data.rindex(b"model.weights.h5") - 46 + 24
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    assert "'model.weights.h5' states 4,294,967,280 bytes" in refused(path, tmp_path / "mark", *FORMAT)


def test_a_member_twice(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.keras"
    path.write_bytes(good.read_bytes())
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr("config.json", "{}")
    assert "holds 'config.json' twice" in refused(path, tmp_path / "mark", *FORMAT)
    assert not os.path.lexists(tmp_path / "build")
