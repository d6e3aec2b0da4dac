"""Steps as C: loops over the samples of a block, and around them loops over elements of equal meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lutc.cmodel import places, words
from lutc.cmodel import rows as at
from lutc.cmodel.index import Tables
from lutc.cmodel.program import Body, Calls, Compute, Product, Step, step_bits
from lutc.cmodel.rows import pool

_PART = 150  # steps of one C function: compilers take longer than twice the time for twice the length
_EACH = "for (i = 0; i < LANES; i++)"
_RESULTS = 4  # of a matrix product that are computed at once


class Printer:
    """The bodies of a file, callees first, and the tables that they read."""

    def __init__(self) -> None:
        self.tables = Tables()
        self.text: list[str] = []
        self.most_limbs = 2
        self.wide = False
        self.bytes: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._places: dict[int, dict[int, NDArray[np.int64]]] = {}

    def name(self, body: Body) -> str:
        """How C calls a body; its bodies below are printed before it."""
        if id(body) not in self._names:
            for step in body.steps:
                if isinstance(step, Calls):
                    self.name(step.body)
            self._names[id(body)] = f"body_{len(self._names)}"
            self._print(body, self._names[id(body)])
        return self._names[id(body)]

    def row(self, body: Body, ref: int, work: str = "w") -> str:
        """The row of an element that is no number."""
        number = ref >> 40
        place = int(self._places[id(body)][number][ref & ((1 << 40) - 1)])
        return f"{work}->{pool(number).name}[{place}]"

    def place(self, body: Body, ref: int) -> tuple[int, int]:
        """The pool of an element that is no number, and its place there."""
        number = ref >> 40
        return number, int(self._places[id(body)][number][ref & ((1 << 40) - 1)])

    def _print(self, body: Body, name: str) -> None:
        where, sizes = places.placed(body)
        self._places[id(body)] = where
        parts = [body.steps[i : i + _PART] for i in range(0, len(body.steps), _PART)]
        printed = [[line for step in part for line in self._step(step, where, name)] for part in parts]
        fields = [
            f"    {pool(p).ctype} {pool(p).name}[{max(n, 1)}][LANES{f' * {pool(p).words}' if pool(p).words else ''}];"
            for p, n in sorted(sizes.items(), reverse=True)
        ]
        called = list(dict.fromkeys(self.name(step.body) for step in body.steps if isinstance(step, Calls)))
        fields += [f"    {inner}_work {inner};" for inner in called]
        self.bytes[name] = sum(n * _size(p) for p, n in sizes.items()) + sum(self.bytes[c] for c in called)
        own = body.name.encode("ascii", "replace").decode().replace("*/", "* /").replace("\n", " ")
        self.text += [
            "",
            f"/* {own} */",
            "typedef struct {",
            *(fields or ["    char none;"]),
            f"}} {name}_work;",
        ]
        for n, lines in enumerate(printed):
            self.text += [
                "",
                f"static LUTC_PART void {name}_{n}({name}_work *w)",
                "{",
                "    int i = 0;",
                "    (void)i;",
                *lines,
                "}",
            ]
        calls = [f"    {name}_{n}(w);" for n in range(len(printed))]
        self.text += ["", f"static void {name}({name}_work *w)", "{", *(calls or ["    (void)w;"]), "}"]

    def _step(self, step: Step, where: dict[int, NDArray[np.int64]], name: str) -> list[str]:
        if isinstance(step, Compute):
            return self._compute(step, where)
        if isinstance(step, Product):
            return self._product(step, where)
        return self._calls(step, where)

    # -- terms -------------------------------------------------------------------------------------------------------

    def _compute(self, step: Compute, where: dict[int, NDArray[np.int64]]) -> list[str]:
        to = where[step.pool][step.rows]
        sources = [where[p][step.reads[:, k]] for k, p in enumerate(step.pools)]
        kind = pool(step.pool)
        if len(step.rows) == 1:
            out = f"w->{kind.name}[{int(to[0])}]"
            read = [f"w->{pool(p).name}[{int(s[0])}]" for p, s in zip(step.pools, sources, strict=True)]
            return self._inner(step, out, read, "    ")
        lines = [f"    {{ int g; for (g = 0; g < {len(step.rows)}; g++) {{"]
        lines.append(f"        {kind.ctype} *y = w->{kind.name}[{self.tables.index(to, 'g')}];")
        read = []
        bases: dict[
            tuple[int, bytes], str
        ] = {}  # operands that lie at equal distances are found by one table
        for k, (p, s) in enumerate(zip(step.pools, sources, strict=True)):
            key = (p, (s - s[0]).tobytes())
            if key not in bases:
                bases[key] = f"b{k}"
                lines.append(
                    f"        const int b{k} = (int)({self.tables.index(s - s[0] if len(s) else s, 'g')});"
                )
            lines.append(
                f"        const {pool(p).ctype} *x{k} = w->{pool(p).name}[{int(s[0])} + {bases[key]}];"
            )
            read.append(f"x{k}")
        return [*lines, *self._inner(step, "y", read, "        "), "    } }"]

    def _inner(self, step: Compute, out: str, read: Sequence[str], indent: str) -> list[str]:
        """The loop over the samples."""
        made, kind = step.term, pool(step.pool)
        bits = step_bits(step)
        table = ""
        if step.table:
            quick = self._looked_up(step, out, read)
            if quick:
                return [indent + quick]
            if kind.words:
                table = self.tables.wide(tuple(step.table), kind.words)
            else:
                table = self.tables.name(kind.ctype, np.array(step.table, dtype=np.int64))
        if bits > 64 or any(pool(p).words for p in step.pools) or kind.words:
            self.wide = True
            self.most_limbs = max(self.most_limbs, words.limb_count(made, step.pool))

            def code(k: int) -> str:
                wide = pool(step.pools[k]).words
                return f"{read[k]} + {wide} * i" if wide else f"{read[k]}[i]"

            into = f"{out} + {kind.words} * i" if kind.words else f"{out}[i]"
            lines = words.limbs(made, code, step.pools, step.pool, into, table)
            return [f"{indent}{_EACH} {{", *(f"{indent}    {line}" for line in lines), f"{indent}}}"]
        before, said = words.expression(made, lambda k: f"{read[k]}[i]", bits, table)
        if not before:
            return [f"{indent}LUTC_APART {_EACH} {out}[i] = ({kind.ctype})({said});"]
        inner = [f"{indent}    {line}" for line in [*before, f"{out}[i] = ({kind.ctype})({said});"]]
        return [f"{indent}LUTC_APART {_EACH} {{", *inner, f"{indent}}}"]

    def _looked_up(self, step: Compute, out: str, read: Sequence[str]) -> str | None:
        """A table of bytes by the lowest bits of bytes or words, as a call of what processors do at once."""
        key, kind = step.term.args[0] if step.term.args else step.term, pool(step.pool)
        if step.term.kind != "look" or kind.name not in ("s8", "u8"):
            return None
        if key.kind == "and" and key.args[0].kind == "ref" and key.args[1].kind == "lit":
            key = key.args[0]
        if key.kind != "ref":
            return None
        source = pool(step.pools[key.k]).name
        entries = list(step.table) * max(64 // len(step.table), 1)
        if len(entries) > (256 if source in ("s8", "u8") else 1024) or source not in (
            "s8",
            "u8",
            "s16",
            "u16",
        ):
            return None
        name = self.tables.name("uint8_t", np.array([e & 255 for e in entries], dtype=np.int64))
        width = "8" if source in ("s8", "u8") else "16"
        # Characters may be read as any kind of them.
        return f"look{width}((uint8_t *){out}, (const uint{width}_t *){read[key.k]}, {name}, {len(entries)});"

    # -- matrices ----------------------------------------------------------------------------------------------------

    def _product(self, step: Product, where: dict[int, NDArray[np.int64]]) -> list[str]:
        """Some results at once, so that what is read serves them all; sums stay in the processor's registers."""
        to, read = where[step.pool][step.rows], where[step.read_pool][step.reads]
        vectors, results = to.shape
        kind, source, sums = pool(step.pool), pool(step.read_pool), step.kind
        signed = "" if source.name in ("u32", "s64") else "(int)"  # from which vectors are made floats
        groups = -(-results // _RESULTS)
        padded = np.zeros((step.weights.shape[0], groups * _RESULTS), dtype=np.int64)
        padded[:, :results] = step.weights
        bias = np.zeros(groups * _RESULTS, dtype=np.int64)
        bias[:results] = step.bias
        blocks = padded.reshape(-1, groups, _RESULTS).swapaxes(0, 1)
        weights, biases = self.tables.name(sums, blocks), self.tables.name(sums, bias)
        apart = read - read[:, :1]
        lines = [f"    {{ int p, j, k, r; for (p = 0; p < {vectors}; p++) {{"]
        if (apart == apart[0]).all():
            first, each = self.tables.index(read[:, 0], "p"), self.tables.index(apart[0], "k")
            lines.append(f"        const int from = (int)({first});")
            row = f"w->{source.name}[from + (int)({each})]"
        else:
            row = f"w->{source.name}[{self.tables.index(read, f'({read.shape[1]} * p + k)')}]"
        rows = self.tables.index(to, f"({results} * p + j + r)")
        return [
            *lines,
            f"        for (j = 0; j < {results}; j += {_RESULTS}) {{",
            f"            const {sums} *u = {weights} + {padded.shape[0]} * j;",
            f"            {sums} s[{_RESULTS}][LANES];",
            f"            for (r = 0; r < {_RESULTS}; r++)",
            f"                for (i = 0; i < LANES; i++) s[r][i] = {biases}[j + r];",
            f"            for (k = 0; k < {padded.shape[0]}; k++, u += {_RESULTS}) {{",
            f"                const {source.ctype} *x = {row};",
            "                for (i = 0; i < LANES; i++) {",
            f"                    const {sums} v = ({sums}){signed}x[i];",
            *(f"                    s[{r}][i] += u[{r}] * v;" for r in range(_RESULTS)),
            "                }",
            "            }",
            f"            for (r = 0; r < {_RESULTS} && j + r < {results}; r++) {{",
            f"                {kind.ctype} *y = w->{kind.name}[{rows}];",
            f"                for (i = 0; i < LANES; i++) y[i] = ({kind.ctype})s[r][i];",
            "            }",
            "        }",
            "    } }",
        ]

    # -- functions ---------------------------------------------------------------------------------------------------

    def _calls(self, step: Calls, where: dict[int, NDArray[np.int64]]) -> list[str]:
        name = self.name(step.body)
        params = [r for p in step.body.params for r in p.tolist() if r >> 40 != at.LITERAL]
        results = [r for r in step.body.results[0].tolist() if r >> 40 != at.LITERAL]
        lines = [f"    {{ int g; {name}_work *o = &w->{name}; for (g = 0; g < {len(step.rows)}; g++) {{"]
        for column, (inner, number) in enumerate(zip(params, step.pools, strict=True)):
            source = where[number][step.reads[:, column]]
            mine = f"w->{pool(number).name}[{self.tables.index(source, 'g')}]"
            lines.append(
                f"        memcpy({self.row(step.body, inner, 'o')}, {mine}, sizeof w->{pool(number).name}[0]);"
            )
        lines.append(f"        {name}(o);")
        for column, (inner, number) in enumerate(zip(results, step.result_pools, strict=True)):
            target = where[number][step.rows[:, column]]
            mine = f"w->{pool(number).name}[{self.tables.index(target, 'g')}]"
            lines.append(
                f"        memcpy({mine}, {self.row(step.body, inner, 'o')}, sizeof w->{pool(number).name}[0]);"
            )
        return [*lines, "    } }"]


def _size(number: int) -> int:
    """The bytes of a row for each lane."""
    one = pool(number)
    return 4 * one.words if one.words else int(one.name[1:]) // 8
