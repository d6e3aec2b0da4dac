"""The graph of a saved program, before PyTorch sees it: what it may name, and what is left out because it may not run.

PyTorch pastes the names of a graph into Python that it executes, evaluates shapes as expressions, resolves targets of
nodes to anything `torch` has, and imports modules for containers. So names are names, shapes are sums and products of
symbols, targets are operators on tensors, containers are Python's own; the rest is refused or, where a design does not
need it, dropped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import torch

from lutc.diagnostics import LirError
from lutc.files.foreign import read_json, shown
from lutc.lowering.refusals import Refusal

LONGEST = 1000  # letters of a name
OPEN = "tensors and numbers are all that a circuit computes with: leave it out of the model"
DAMAGED = "is damaged: its graph is not as torch.export writes it"


def checked(document: Any) -> dict[str, Any]:
    """The program without what could run or is not needed. Raises Refusal for what a circuit could not have."""
    graph_module = _dict(_dict(document).get("graph_module"))
    ranges = _dict(document.get("range_constraints", {}))
    for key, value in ranges.items():
        _expression(key)
        if re.fullmatch(r"[uz][a-z]*\d{6,}", key):  # PyTorch counts up to it
            raise Refusal(f"has the dimension {shown(key)}, which is no name of torch.export's")
        plain(value)
    known = [v for v in _strings(document.get("verifiers", [])) if v in ("TRAINING", "ATEN")]
    found = {
        "graph_module": {
            "graph": _clean(graph_module.get("graph")),
            "signature": _clean(graph_module.get("signature")),
            "module_call_graph": _clean(graph_module.get("module_call_graph")),
            "metadata": {},
        },
        "opset_version": document.get("opset_version", {}),
        "range_constraints": ranges,
        "schema_version": document.get("schema_version"),
        "verifiers": known[:1] or ["TRAINING"],
    }
    plain(found["opset_version"])
    plain(found["schema_version"])
    _list_of_dicts(_dict(found["graph_module"]["signature"]).get("input_specs"))
    return found


def plain(tree: Any) -> None:
    """Raise Refusal unless every name in a tree is one that can stand in a program's text."""
    _clean(tree)


def length(value: Any) -> int:
    """A dimension of a stored tensor. Raises Refusal if it is no number."""
    number = value.get("as_int") if isinstance(value, dict) else None
    if type(number) is not int or number < 0:
        raise Refusal("is damaged: a stored tensor has no fixed shape")
    return number


# -- the tree ---------------------------------------------------------------------------------------------------------

# Dicts whose keys are names of the graph.
NAMED = (
    *("tensor_values", "sym_int_values", "sym_float_values", "sym_bool_values"),
    *("as_string_to_argument", "custom_obj_values", "config"),
)
# Of a node's metadata, what messages tell layers by.
METADATA = ("nn_module_stack", "stack_trace", "torch_fn")


def _clean(tree: Any, key: str = "") -> Any:
    """A part of the program, checked; `key` is what it stands under."""
    if key in RULES:
        return RULES[key](tree)
    if isinstance(tree, dict):
        for name in tree:
            _name(name)
        return {k: _clean(v, "" if key in NAMED else k) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_clean(v) for v in tree]
    return _name(tree) if isinstance(tree, str) else tree


def _name(text: str) -> str:
    """A name of the model or a path of names. Raises Refusal if it could be anything else in a program's text."""
    parts = text.replace("-", "").split(".")
    if len(text) > LONGEST or not all(p.isidentifier() or p.isdecimal() or not p for p in parts):
        raise Refusal(f"has the name {shown(text)}, which is none that torch.export gives")
    return text


def _metadata(value: Any) -> Any:
    return {k: v for k, v in _dict(value).items() if k in METADATA and isinstance(v, str)}


def _text(value: Any) -> Any:
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise Refusal(f"has the text {shown(value)} among its arguments", OPEN)
    return value


def _texts(value: Any) -> Any:
    return [_text(v) for v in _strings(value)]


def _object(value: Any) -> Any:
    kind = value.get("class_fqn", "?") if isinstance(value, dict) else "?"
    raise Refusal(f"holds an object of its own ({shown(kind)}), and opening that could run code", OPEN)


def _objects(value: Any) -> Any:
    return _object(next(iter(value.values()))) if isinstance(value, dict) and value else {}


# -- shapes -----------------------------------------------------------------------------------------------------------

# As sympy's srepr writes them, and as Python's str does: older versions of PyTorch stored that.
FUNCTIONS = frozenset(
    (
        *("Symbol", "Integer", "Add", "Mul", "Pow", "Max", "Min", "Abs", "And", "Or", "Not", "True", "False"),
        *("FloorDiv", "ModularIndexing", "Mod", "PythonMod", "CleanDiv", "CeilDiv", "IntTrueDiv", "Identity"),
        *("CeilToInt", "FloorToInt", "TruncToInt", "RoundToInt", "ToFloat", "oo", "int_oo"),
        *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality"),
        *("LessThan", "GreaterThan", "StrictLessThan", "StrictGreaterThan"),
        *("positive", "nonnegative", "integer", "real", "nonzero", "zero", "finite"),
    )
)
SYMBOL = r"[a-z]{1,4}\d{1,9}"
TOKEN = re.compile(
    rf"\s+|'{SYMBOL}'|(?P<name>[A-Za-z_]\w*)|(?P<number>\d{{1,18}})(?![\w.])|\*\*?|//|[<>=!]=|[-+/(),<>=&|~%]",
    re.A,
)
EXPRESSION = 2000  # letters
SMALL = 64  # numbers beside a power; one power is the most, for a tower of them is a number without end


def _expression(text: Any) -> str:
    """A dimension as an expression of symbols. Raises Refusal if it is more than that."""
    wrong = not isinstance(text, str) or len(text) > EXPRESSION
    at, powers, largest = 0, 0, 0
    while not wrong and at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            wrong = True
            break
        word, at = token["name"], token.end()
        wrong = word is not None and word not in FUNCTIONS and not re.fullmatch(SYMBOL, word, re.A)
        powers += word == "Pow" or token[0] == "**"
        largest = max(largest, int(token["number"] or 0))
    if wrong or powers > 1 or (powers and largest > SMALL):
        raise Refusal(f"has a dimension of {shown(text)}, and working that out could run code")
    return str(text)


# -- operators --------------------------------------------------------------------------------------------------------

OPERATORS = frozenset(("aten", "prims", "quantized_decomposed"))
CONTROL = frozenset(
    (
        *("cond", "map_impl", "while_loop", "scan", "associative_scan", "flex_attention"),
        *("wrap_with_set_grad_enabled", "wrap_with_autocast"),
    )
)
NUMBERS = {
    "_operator": frozenset(
        (
            *("getitem", "add", "sub", "mul", "truediv", "floordiv", "mod", "neg", "pos", "abs"),
            *("ge", "le", "gt", "lt", "eq", "ne", "and_", "or_", "not_"),
        )
    ),
    "math": frozenset(("ceil", "floor", "trunc", "sqrt")),
    "torch": frozenset(
        ("sym_int", "sym_float", "sym_max", "sym_min", "sym_not", "sym_ite", "sym_sqrt", "sym_sum")
    ),
}
# Texts that operators on tensors take. Others name files, or are printed.
WORDS = frozenset(
    (
        *(
            "rounding_mode",
            "approximate",
            "equation",
            "mode",
            "padding",
            "reduce",
            "norm",
            "UPLO",
            "driver",
            "ord",
        ),
        *("p", "indexing", "interpolation", "side", "pad_mode", "padding_side", "padding_mode", "assert_msg"),
        "activation",
    )
)


def _operator(target: Any) -> str:
    """What a node calls. Raises Refusal unless it is an operator on tensors or numbers."""
    words = target.split(".") if isinstance(target, str) else []
    if len(words) == 2 and words[1] in NUMBERS.get(words[0], ()):
        return str(target)
    if words[:3] == ["torch", "ops", "higher_order"] and len(words) == 4 and words[3] in CONTROL:
        return str(target)
    if words[:2] == ["torch", "ops"] and len(words) == 5 and words[2] in OPERATORS and _pure(words[2:]):
        return str(target)
    raise Refusal(f"calls {shown(target)}, which is no operator of PyTorch on tensors", OPEN)


def _pure(words: list[str]) -> bool:
    found: Any = torch.ops
    for word in words:
        found = getattr(found, word, None)
    if not isinstance(found, torch._ops.OpOverload):
        return False
    arguments = found._schema.arguments
    return all(a.name in WORDS for a in arguments if "str" in str(a.type))


# -- containers of arguments and results ------------------------------------------------------------------------------

CONTAINERS = frozenset(
    (
        *("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"),
        *("torch.fx.immutable_collections.immutable_list", "torch.fx.immutable_collections.immutable_dict"),
    )
)


def _containers(text: Any) -> Any:
    """How arguments or results are nested. Raises Refusal unless Python's own containers nest them."""
    if not isinstance(text, str):
        raise Refusal(DAMAGED)
    if not text:
        return text
    tree = _json(text)
    if not isinstance(tree, list) or len(tree) != 2 or type(tree[0]) is not int:
        raise Refusal(DAMAGED)
    _container(tree[1])
    return json.dumps(tree)


def _container(tree: Any) -> None:
    kind, context = _dict(tree).get("type"), tree.get("context")
    if kind is not None and kind not in CONTAINERS:
        raise Refusal(
            f"takes or returns a {shown(kind)}, and making one could run code",
            "let forward take and return tensors, tuples, lists or dicts",
        )
    names = _json(context) if isinstance(context, str) else context
    if names is not None and not (isinstance(names, list) and all(isinstance(n, str | int) for n in names)):
        raise Refusal(f"has keys {shown(names)} in a dict of arguments", "name them with text")
    for child in _list_of_dicts(tree.get("children_spec")):
        _container(child)


def _json(text: str) -> Any:
    try:
        return read_json(text, "")
    except LirError:
        raise Refusal(DAMAGED) from None


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(DAMAGED)
    return value


def _list_of_dicts(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(v, dict) for v in value):
        raise Refusal(DAMAGED)
    return value


def _strings(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise Refusal(DAMAGED)
    return value


RULES: dict[str, Callable[[Any], Any]] = {
    "expr_str": _expression,
    "target": _operator,
    "as_operator": _operator,
    "metadata": _metadata,
    "as_string": _text,
    "as_strings": _texts,
    "in_spec": _containers,
    "out_spec": _containers,
    "as_custom_obj": _object,
    "custom_obj": _object,
    "custom_obj_values": _objects,
}
