"""Identifiers that are legal, and the same, in Verilog and in VHDL.

VHDL is the stricter language: letters, digits and single underscores, a letter first, no underscore last, and
capitals do not count. Words that either language, SystemVerilog or C++ (which Verilator writes) keeps for
itself are avoided, and so are the names of VHDL's libraries that our own text uses.
"""

from __future__ import annotations

import re

from lutc.primitives import PRIMITIVES

_VERILOG_2001 = """
always and assign automatic begin buf bufif0 bufif1 case casex casez cell cmos config deassign default defparam
design disable edge else end endcase endconfig endfunction endgenerate endmodule endprimitive endspecify endtable
endtask event for force forever fork function generate genvar highz0 highz1 if ifnone incdir include initial inout
input instance integer join large liblist library localparam macromodule medium module nand negedge nmos nor
noshowcancelled not notif0 notif1 or output parameter pmos posedge primitive pull0 pull1 pulldown pullup
pulsestyle_ondetect pulsestyle_onevent rcmos real realtime reg release repeat rnmos rpmos rtran rtranif0 rtranif1
scalared showcancelled signed small specify specparam strong0 strong1 supply0 supply1 table task time tran tranif0
tranif1 tri tri0 tri1 triand trior trireg unsigned use uwire vectored wait wand weak0 weak1 while wire wor xnor
xor
"""
_SYSTEM_VERILOG = """
accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle
checker class clocking const constraint context continue cover covergroup coverpoint cross dist do endchecker
endclass endclocking endgroup endinterface endpackage endprogram endproperty endsequence enum eventually expect
export extends extern final first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies
import inside int interconnect interface intersect join_any join_none let local logic longint matches modport
nettype new nexttime null package packed priority program property protected pure rand randc randcase randsequence
ref reject_on restrict return s_always s_eventually s_nexttime s_until s_until_with sequence shortint shortreal
soft solve static string strong struct super sync_accept_on sync_reject_on tagged this throughout timeprecision
timeunit type typedef union unique unique0 until until_with untyped var virtual void wait_order weak wildcard with
within
"""
_VHDL_2008 = """
abs access after alias all and architecture array assert assume assume_guarantee attribute begin block body buffer
bus case component configuration constant context cover default disconnect downto else elsif end entity exit fairness
file for force function generate generic group guarded if impure in inertial inout is label library linkage
literal loop map mod nand new next nor not null of on open or others out package parameter port postponed
procedure process property protected pure range record register reject release rem report restrict
restrict_guarantee return rol ror select sequence severity shared signal sla sll sra srl strong subtype then to
transport type unaffected units until use variable vmode vprop vunit wait when while with xnor xor
"""
_VHDL_LIBRARIES = """
bit bit_vector boolean character falling_edge false ieee integer line natural now numeric_std positive real
resize rising_edge severity_level shift_left shift_right signed std std_logic std_logic_1164 std_logic_vector
std_ulogic std_ulogic_vector string time to_integer to_signed to_unsigned true truncate u_signed u_unsigned
unsigned work
"""
_CPLUSPLUS = """
alignas alignof and_eq asm auto bitand bitor bool catch char char16_t char32_t co_await co_return co_yield compl
concept const_cast consteval constexpr constinit decltype delete double dynamic_cast explicit false float friend
goto inline long mutable namespace noexcept not_eq nullptr operator or_eq private public register reinterpret_cast
requires short signed sizeof static_assert static_cast switch template thread_local throw true try typeid typename
unsigned using volatile wchar_t xor_eq
"""
_PRIMITIVES = " ".join(cell.lower() for p in PRIMITIVES.values() for _, cell in p.cells)
RESERVED = frozenset(
    " ".join([_PRIMITIVES, _VERILOG_2001, _SYSTEM_VERILOG, _VHDL_2008, _VHDL_LIBRARIES, _CPLUSPLUS]).split()
)


_PLAIN = re.compile(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*")


LONGEST = 120  # letters: a module's name is a file's as well, and 255 are the most for that


def legal(hint: str) -> str:
    """``hint`` as an identifier: ``dense_1/MatMul:0`` is ``dense_1_MatMul_0``. Not yet unique."""
    name = hint if _PLAIN.fullmatch(hint) else re.sub(r"[^A-Za-z0-9]+", "_", hint).strip("_")
    if len(name) > LONGEST:
        name = name[:LONGEST].rstrip("_")
    if not name or name[0].isdigit():
        name = f"n{name}" if name else "n"
    return f"{name}_n" if name.lower() in RESERVED else name


class Scope:
    """The identifiers of one module, or of all modules. Names that differ in capitals only are the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def reserve(self, *names: str) -> None:
        """Legal identifiers that this scope is not to give out."""
        self._taken.update(name.lower() for name in names)

    def claim(self, hint: str) -> str:
        """A legal identifier near ``hint`` that this scope has not given out yet."""
        base = name = legal(hint)
        lower = low = base.lower()
        if low in self._taken:
            count = self._next.get(low, 2)
            while lower in self._taken:
                name, lower = f"{base}_{count}", f"{low}_{count}"
                count += 1
            self._next[low] = count
        self._taken.add(lower)
        return name
