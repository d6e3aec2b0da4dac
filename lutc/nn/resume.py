"""What a run was made of, and the state with which it goes on bit for bit."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lutc.diagnostics import LirError, error, shortened
from lutc.files.foreign import first_line

from .batches import Source, leaves
from .quantizer import Layer

LAST = "last.pt"
FILES = (
    LAST,
    "front",
    "history.json",
    "report.html",
    "front.svg",
    "tensorboard",
)  # what a run leaves in its folder
_LEFT = (
    LAST,
    "history.json",
    "report.html",
    "front.svg",
    "front/front.json",
    "front/epoch_*.pt",
    "tensorboard/events.*",
)
ANEW = (
    "give it a folder of its own, begin this one anew with fresh=True, or carry on from a point of it on purpose with "
    "initial=front.load(front.best()), which moves the earlier run aside"
)
Facts = dict[str, str]


def digest(*tensors: Any) -> str:
    """Of the numbers themselves."""
    made = hashlib.blake2b(digest_size=8)
    for v in tensors:
        flat = v.detach().cpu().contiguous()
        made.update(flat.reshape(-1).view(torch.uint8).numpy())
    return made.hexdigest()


def state_digest(state: Any) -> str:
    """Of a state_dict. Raises LirError for what is none."""
    values: list[Any] = list(state.values()) if isinstance(state, Mapping) else [state]
    if not all(isinstance(v, Tensor) for v in values) or not isinstance(state, Mapping):
        raise not_of_the_model(TypeError(f"a {type(state).__name__} is no state_dict"))
    return digest(*values)


def model_facts(model: nn.Module) -> Facts:
    """The layers with their options, and shapes and types of all that is kept; not what is trained."""
    layers = []
    for name, m in model.named_modules(remove_duplicate=False):
        made = m.made_with if isinstance(m, Layer) else ()
        layers.append(f"{name or 'model'} {type(m).__qualname__}" + "".join(f" {_plain(v)}" for v in made))
    state = [f"{n} {list(v.shape)} {v.dtype}" for n, v in model.state_dict().items()]
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    return {"model": "; ".join([*layers, *state, f"frozen {frozen}"])}


def data_facts(source: Source) -> Facts:
    """Of whole tensors their numbers; of a loader what can be known without reading it all."""
    if source.whole is not None:
        tensors = [v for part in source.whole if part is not None for v in leaves(part)]
        kinds = ", ".join(f"{list(v.shape)} {str(v.dtype).removeprefix('torch.')}" for v in tensors)
        return {source.where: f"{kinds} {digest(*tensors)}"}
    loader = source.loader
    words = [type(loader).__name__]
    for part in (getattr(loader, "dataset", None), getattr(loader, "sampler", None)):
        if part is not None:
            words.append(type(part).__name__ + (f" of {len(part)}" if hasattr(part, "__len__") else ""))
    words += [f"{n}={getattr(loader, n)}" for n in ("batch_size", "drop_last") if hasattr(loader, n)]
    shapes = [str(list(v.shape[1:])) for part in source.first if part is not None for v in leaves(part)]
    return {source.where: ", ".join([*words, *shapes])}


def optimiser_facts(optimiser: torch.optim.Optimizer, model: nn.Module) -> Facts:
    names = {p: n for n, p in model.named_parameters()}
    groups = []
    for group in optimiser.param_groups:
        options = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(group.items()) if k != "params")
        groups.append(f"{options} for {', '.join(names.get(p, '?') for p in group['params'])}")
    return {"optimiser": f"{type(optimiser).__qualname__}: " + "; ".join(groups)}


def object_facts(where: str, thing: Any) -> Facts:
    """A function's name; of another object its class and its plain attributes."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return {where: repr(thing)}
    if hasattr(thing, "__qualname__"):
        return {where: f"{thing.__module__}.{thing.__qualname__}"}
    fields = (
        [f.name for f in dataclasses.fields(thing)] if dataclasses.is_dataclass(thing) else list(vars(thing))
    )
    words = [f"{n}={_plain(getattr(thing, n))}" for n in fields if not n.startswith("_")]
    return {where: f"{type(thing).__qualname__}({', '.join(words)})"}


def scheduler_facts(scheduler: Any) -> Facts:
    if scheduler is None:
        return {"schedule": "None"}
    state = ", ".join(f"{k}={_plain(v)}" for k, v in sorted(scheduler.state_dict().items()) if k[0] != "_")
    return {"schedule": f"{type(scheduler).__qualname__}({state})"}


def _plain(value: Any) -> str:
    """A value in words that are the same in every process."""
    if isinstance(value, Tensor):
        return str(value.tolist()) if value.numel() <= 8 else digest(value)
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def refuse_another(folder: Path, before: Any, now: Facts) -> None:
    """Raise LirError, saying what differs, unless the run in the folder was made of the same."""
    if not isinstance(before, dict):
        message = "the run in this folder does not say what it was made of: another version of lutc began it"
        raise error(message, where=str(folder), help=ANEW)
    found = [_difference(name, before.get(name), now.get(name)) for name in {**before, **now}]
    wrong = [text for text in found if text]
    if wrong:
        message = "the run in this folder was made of something else: " + "; ".join(wrong)
        raise error(message, where=str(folder), help=ANEW)


def _difference(name: str, before: str | None, now: str | None) -> str:
    if before == now:
        return ""
    if before is None or now is None:
        return f"{name} was {'not said' if before is None else shortened(before)}"
    a, b = (text.split("; ") for text in (before, now))
    parts = [(x, y) for x, y in zip(a, b, strict=False) if x != y]
    first, second = parts[0] if parts else (before, now)
    same = 0  # long ones are shown from a little before they part
    if max(len(first), len(second)) > 100:
        same = next((k for k, (x, y) in enumerate(zip(first, second, strict=False)) if x != y), 0)
        same = max(0, same - 20)
    return f"{name} was {shortened(first[same:], 100)}, and is {shortened(second[same:], 100)}"


def read_last(folder: Path) -> dict[str, Any] | None:
    """The state in a folder; None if there is none. Raises LirError for a damaged one."""
    path = folder / LAST
    if not path.exists():
        return None
    try:
        found = torch.load(path, weights_only=True)
        if not isinstance(found, dict) or not {"model", "optimiser", "epoch", "step"} <= set(found):
            raise ValueError("it holds no state of a training")
    except Exception as e:  # whatever torch says of a file that is none
        raise error(f"damaged: {first_line(e)}", where=str(path), help=ANEW) from None
    return found


def clear(folder: Path) -> None:
    """Remove what a run has left, and nothing else."""
    for pattern in _LEFT:
        for path in folder.glob(pattern):
            path.unlink()


def set_aside(folder: Path) -> None:
    """Move what a run has left into ``before-1``, or the first such folder that is not there."""
    number = 1
    while (folder / f"before-{number}").exists():
        number += 1
    aside = folder / f"before-{number}"
    aside.mkdir()
    for name in (*FILES[1:], LAST):  # the state last: killed before, the next start finds the same to move
        if (folder / name).exists():
            (folder / name).rename(aside / name)


def random_state() -> dict[str, Any]:
    """Of torch, Python and NumPy, in plain containers."""
    kind, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (kind, np.asarray(keys).tolist(), *rest),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random(state: dict[str, Any]) -> None:
    version, inner, gauss = state["python"]
    torch.set_rng_state(state["torch"])
    random.setstate((version, tuple(inner), gauss))
    np.random.set_state(tuple(state["numpy"]))
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def load_initial(model: nn.Module, state: Any) -> None:
    """Begin with other weights. Raises LirError for those of another model."""
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as e:
        raise not_of_the_model(e) from None


def not_of_the_model(cause: BaseException) -> LirError:
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    text = lines[1] if len(lines) > 1 else first_line(cause)
    help = "give the state of a model of the same layers, such as front.load(point)"
    return error(f"no state of this model: {shortened(text, 200)}", where="initial", help=help)
