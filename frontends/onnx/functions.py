"""Functions of a model written out: every call becomes the nodes of its function, under names of their own.

A function states the operator sets its nodes follow, so these may be others than the model's, and defaults of its
attributes. What a call leaves away is absent inside, or has the default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lutc.diagnostics import error

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto

Key = tuple[str, str, str]  # domain, name, overload
MOST = 1 << 17  # nodes of a model that is written out
# Domains whose operators others define: a function under the name of one of them may mean either.
DEFINED = ("", "com.microsoft")


def domain_of(name: str) -> str:
    """A domain by its one name: the standard's own has two."""
    return "" if name == "ai.onnx" else name


def operator_sets(imports: Iterable[Any], where: str) -> dict[str, int]:
    """Versions by domain. Raises LirError if a domain has two."""
    versions: dict[str, int] = {}
    for entry in imports:
        domain = domain_of(entry.domain)
        if versions.setdefault(domain, entry.version) != entry.version:
            raise error(
                f"follows two operator sets of the domain {domain!r}: {versions[domain]} and {entry.version}",
                where=where,
                help="the model is broken: export it again",
            )
    return versions


@dataclass(frozen=True, eq=False)
class Call:
    """Nodes as they stand in a graph or in a function: with the operator sets they follow, and who calls them."""

    node: NodeProto
    versions: Mapping[str, int]
    path: str = ""


@dataclass(eq=False)
class Functions:
    """The functions of a model. `taken` are the names of tensors that are given away."""

    where: str = "model"
    by_key: dict[Key, FunctionProto] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    _sizes: dict[Key, int] = field(default_factory=dict)

    @staticmethod
    def of(functions: Iterable[FunctionProto], where: str, defined: Any) -> Functions:
        """The table of a model's functions. `defined(domain, name)` says whether there is an operator of that name.

        Raises LirError for two functions of one name, and for one with the name of an operator.
        """
        found = Functions(where)
        for f in functions:
            key = (domain_of(f.domain), f.name, f.overload)
            if key in found.by_key:
                raise error(
                    f"has two functions {_named(key)}",
                    where=where,
                    help="the model is broken: export it again",
                )
            if key[0] in DEFINED and defined(key[0], f.name):
                raise error(
                    f"has a function under the name of the operator {f.name!r}, and which of the two is meant, "
                    "every runtime decides for itself",
                    where=where,
                    help="give the function a domain of its own",
                )
            found.by_key[key] = f
        return found

    def fresh(self, name: str) -> str:
        """A tensor's name that no other has."""
        made, count = name, 1
        while made in self.taken:
            count += 1
            made = f"{name}_{count}"
        self.taken.add(made)
        return made

    def written_out(self, nodes: Sequence[NodeProto], versions: Mapping[str, int]) -> list[Call]:
        """Nodes with every call replaced by its function. Raises LirError for calls without end, or too many."""
        if not self.by_key:
            return [Call(n, versions) for n in nodes]
        size = sum(self._size(_key(n), ()) for n in all_nodes(nodes))
        if size > MOST:
            raise error(
                f"becomes {size} layers when its functions are written out, and up to {MOST} are taken",
                where=self.where,
                help="a circuit has no calls: every use of a function is hardware of its own",
            )
        return list(self._expanded([Call(n, versions) for n in nodes]))

    def _size(self, key: Key, path: tuple[Key, ...]) -> int:
        """How many nodes one node is."""
        function = self.by_key.get(key)
        if function is None:
            return 1
        if key in path:
            cycle = " calls ".join(_named(k) for k in (*path[path.index(key) :], key))
            raise error(
                f"has functions that call themselves: {cycle}",
                where=self.where,
                help="a circuit has no recursion: export the model with its layers written out",
            )
        if len(path) > 200:
            raise error(
                "nests functions over 200 deep", where=self.where, help="export the model without them"
            )
        if key not in self._sizes:
            inside = (self._size(_key(n), (*path, key)) for n in all_nodes(function.node))
            self._sizes[key] = 1 + sum(inside)
        return self._sizes[key]

    def _expanded(self, calls: list[Call]) -> Iterator[Call]:
        for call in calls:
            function = self.by_key.get(_key(call.node))
            if function is None:
                yield call
            else:
                yield from self._expanded(self._body(call, function))

    def _body(self, call: Call, function: FunctionProto) -> list[Call]:
        """The nodes of a function in the place of a call."""
        name = _label(call.node)
        path = f"{call.path}{name}/"

        def broken(what: str) -> Exception:
            return error(
                f"calls the function {function.name!r} {what}",
                where=f"{call.path}{name} ({function.name})",
                help="the model is broken: export it again",
            )

        for kind, given, own in (
            ("inputs", call.node.input, function.input),
            ("outputs", call.node.output, function.output),
        ):
            if len(given) > len(own):
                raise broken(f"with {len(given)} {kind}, and it has {len(own)}")
        attributes: dict[str, AttributeProto] = {a.name: a for a in function.attribute_proto}
        for a in call.node.attribute:
            if a.name not in attributes and a.name not in function.attribute:
                raise broken(f"with an attribute {a.name!r}, which it does not have")
            attributes[a.name] = a
        names = {"": ""}
        names |= dict.fromkeys(function.input, "")  # what a call leaves away is absent
        names |= dict(zip(function.input, call.node.input, strict=False))
        through: list[NodeProto] = []
        for own, given in zip(function.output, call.node.output, strict=False):
            if given and own in names:  # an input, or an output named twice: handed through
                through.append(identity(names[own], given))
            elif given:
                names[own] = given
        for node in function.node:
            for made in node.output:
                if made not in names:
                    names[made] = self.fresh(path + made)
        versions = operator_sets(function.opset_import, f"{self.where}: function {function.name}")
        body = []
        for node in function.node:
            copy = type(node)()
            copy.CopyFrom(node)
            # A name the function does not define is none of the graph's around it, whatever that calls its own.
            _bind(copy, lambda n: names.get(n, path + n), attributes)
            body.append(Call(copy, versions, path))
        newest = {**versions, "": versions.get("", call.versions.get("", 0))}
        return body + [Call(n, newest, path) for n in through]


def _key(node: NodeProto) -> Key:
    return domain_of(node.domain), node.op_type, node.overload


def _named(key: Key) -> str:
    return ".".join(filter(None, key[:2])) + (f":{key[2]}" if key[2] else "")


def _label(node: NodeProto) -> str:
    return node.name or next((o for o in node.output if o), "") or node.op_type


def all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes with those of their subgraphs."""
    for node in nodes:
        yield node
        for a in node.attribute:
            for graph in _graphs(a):
                yield from all_nodes(graph.node)


def _graphs(a: AttributeProto) -> list[GraphProto]:
    return ([a.g] if a.HasField("g") else []) + list(a.graphs)


def identity(source: str, to: str) -> NodeProto:
    """A node that hands a tensor on under another name."""
    from onnx.helper import make_node

    return make_node("Identity", [source], [to], name=to)


def _bind(node: NodeProto, name: Callable[[str], str], attributes: Mapping[str, AttributeProto]) -> None:
    """Replace names of tensors, and references to the function's attributes, in a node and its subgraphs."""
    node.input[:] = [name(n) if n else n for n in node.input]
    node.output[:] = [name(n) if n else n for n in node.output]
    kept = []
    for a in node.attribute:
        bound = type(a)()
        if a.ref_attr_name and a.ref_attr_name not in attributes:
            continue  # the call leaves it away, so it is absent here as well
        bound.CopyFrom(attributes[a.ref_attr_name] if a.ref_attr_name else a)
        bound.name = a.name
        for graph in _graphs(bound):
            _bind_graph(graph, name, attributes)
        kept.append(bound)
    del node.attribute[:]  # protobuf has no way to replace single elements
    node.attribute.extend(kept)


def _bind_graph(
    graph: GraphProto, name: Callable[[str], str], attributes: Mapping[str, AttributeProto]
) -> None:
    """The same in a subgraph, whose own tensors hide those outside that have their names."""
    own = defined_in(graph)

    def inner(n: str) -> str:
        return n if n in own else name(n)

    for node in graph.node:
        _bind(node, inner, attributes)
    for output in graph.output:
        output.name = inner(output.name)


def defined_in(graph: GraphProto) -> set[str]:
    """The names of the tensors that a graph makes or is given."""
    made = {n for node in graph.node for n in node.output if n}
    kept = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
    return made | kept | {i.name for i in graph.input}


def read_outside(graph: GraphProto) -> set[str]:
    """The names of the tensors that a subgraph reads of the graphs around it."""
    used = {n for node in graph.node for n in read_by(node)} | {o.name for o in graph.output}
    return used - defined_in(graph) - {""}


def read_by(node: NodeProto) -> list[str]:
    """The names of all tensors a node reads, those its subgraphs read included."""
    inside = [n for a in node.attribute for g in _graphs(a) for n in sorted(read_outside(g))]
    return [*node.input, *inside]


def renamed_apart(graph: GraphProto, functions: Functions, prefix: str) -> GraphProto:
    """A copy of a subgraph whose own tensors have names that no other has."""
    copy = type(graph)()
    copy.CopyFrom(graph)
    names = {n: functions.fresh(f"{prefix}/{n}") for n in sorted(defined_in(graph))}
    for node in copy.node:
        _bind(node, lambda n: names.get(n, n), {})
    for tensor in [*copy.initializer, *copy.input, *copy.output]:
        tensor.name = names.get(tensor.name, tensor.name)
    return copy
