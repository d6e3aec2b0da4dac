"""The bench in Verilator: a program in C++ that plays the plan, for thousands of vectors a second.

It needs Verilator 5 and a C++ compiler, and not cocotb. The program finds the first wrong cycle; what it is, `plan`
tells, as in any other simulator. Registers begin with random values here, for this simulator knows no others.
"""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

from .plan import Bench, difference, load, steps

NEWS = 20000  # cycles between two lines about the progress


class Failed(Exception):
    """The circuit was not compiled, or the program ended without an answer; the text says why."""


def simulate(here: Path, work: Path) -> dict[str, Any]:
    """Compile and run the bench of the folder `here` in the folder `work`; the verdict as of `test_bench`.

    Raises Failed, and ValueError if the bench's files do not fit together.
    """
    bench, _, expected = load(here)
    plan = list(steps(bench, len(expected)))
    (work / "main.cpp").write_text(program(bench))
    with (work / "plan.txt").open("w") as file:
        for s in plan:
            check = -1 if s.check is None else s.check
            file.write(f"{s.drive} {int(s.enable)} {int(s.valid)} {check} {int(s.check_valid)}\n")
    _run(
        [
            *("verilator", "--cc", "--exe", "--build", "-O3", "-Wno-fatal", "-Wno-lint", "-Wno-style"),
            *("--x-assign", "unique", "--x-initial", "unique"),  # as random as the circuit may be
            *("--top-module", bench.top, "--prefix", "Vcircuit", "--Mdir", str(work / "made")),
            *("-CFLAGS", "-O2", "-o", "simulation"),
            *(str(here.parent / source) for source in bench.sources),
            str(work / "main.cpp"),
        ]
    )
    program_path = work / "made" / "simulation"
    command = [str(program_path), str(here / "inputs.hex"), str(here / "outputs.hex"), str(work / "plan.txt")]
    last = ""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("cycle "):
                print(f"{line.rstrip()} of {len(plan)}", flush=True)
            else:
                last = line
    if process.returncode not in (0, 1):
        raise Failed(f"the simulation ended with status {process.returncode}")
    return _verdict(bench, plan, expected, last.split())


def _verdict(bench: Bench, plan: list[Any], expected: list[list[int]], said: list[str]) -> dict[str, Any]:
    if not said or said[0] not in ("right", "wrong"):
        raise Failed("the simulation said nothing of its answers")
    checked, failure, cycles = int(said[1]), None, len(plan)
    if said[0] == "wrong":
        cycles = int(said[2])
        ports = [*bench.outputs, *([("valid_out", 1)] if bench.valid else [])]
        got = {
            name: f"{int(word, 16):0{width}b}" for (name, width), word in zip(ports, said[3:], strict=True)
        }
        failure = difference(bench, cycles, plan[cycles], expected[plan[cycles].check or 0], got)
        if failure is None:
            raise Failed(f"cycle {cycles} is wrong for the program and right for the plan")
    return {
        "passed": failure is None and checked > 0,
        "vectors": len(expected),
        "cycles": cycles,
        "checked": checked,
        "first_failure": failure and dataclasses.asdict(failure),
        "message": str(failure or "") or ("" if checked else "no output was checked"),
    }


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n", flush=True)
        raise Failed("verilator could not compile the circuit")


def program(bench: Bench) -> str:
    """The program that plays a plan for a circuit."""

    def offsets(ports: list[tuple[str, int]]) -> list[int]:
        found = [0]
        for _, width in ports:
            found.append(found[-1] + (width + 31) // 32)
        return found

    ins, outs = list(bench.inputs), list(bench.outputs)
    at_in, at_out = offsets(ins), offsets(outs)
    drive = [f"put(dut->{name}, in + {at_in[n]});" for n, (name, _) in enumerate(ins)]
    check = [f"good = good && same(dut->{name}, out + {at_out[n]});" for n, (name, _) in enumerate(outs)]
    shown = [f"show(dut->{name}, {(width + 31) // 32});" for name, width in outs]
    controls = [
        *(["dut->ce = step.enable;"] if bench.clock_enable else []),
        *(["dut->valid_in = step.valid;"] if bench.valid else []),
    ]
    low = [f"put(dut->{name}, zero.data());" for name, _ in ins]
    low += [
        f"dut->{name} = 0;"
        for name, there in (("ce", bench.clock_enable), ("valid_in", bench.valid))
        if there
    ]
    reset = "dut->rst = 1; tick(); tick(); dut->rst = 0;" if bench.reset else ""
    clocked = "dut->clk = 1; dut->eval(); dut->clk = 0; dut->eval();" if bench.clock else ""
    lines = {
        "start": [*(["dut->clk = 0;"] if bench.clock else []), *low, "dut->eval();"],
        "drive": [*drive, *controls],
        "check": check,
        "shown": shown + (["show(dut->valid_out, 1);"] if bench.valid else []),
        "valid": ["good = good && dut->valid_out == step.check_valid;"] if bench.valid else [],
    }
    text = _PROGRAM
    for name, code in lines.items():
        text = text.replace(f"@{name}@", "\n        ".join(code))
    for name, value in (
        ("clocked", clocked),
        ("reset", reset),
        ("in_words", at_in[-1]),
        ("out_words", at_out[-1]),
        ("in_widths", ", ".join(str((w + 31) // 32) for _, w in ins) or "0"),
        ("out_widths", ", ".join(str((w + 31) // 32) for _, w in outs) or "0"),
        ("seed", bench.seed),
        ("news", NEWS),
    ):
        text = text.replace(f"@{name}@", str(value))
    return text


_PROGRAM = """\
#include "Vcircuit.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

template <class T> static void put(T &port, const uint32_t *words)
{
    uint64_t both = words[0];
    if (sizeof(T) > 4) both |= static_cast<uint64_t>(words[1]) << 32;
    port = static_cast<T>(both);
}
template <std::size_t N> static void put(VlWide<N> &port, const uint32_t *words)
{
    for (std::size_t i = 0; i < N; i++) port[i] = words[i];
}
template <class T> static bool same(const T &port, const uint32_t *words)
{
    uint64_t both = words[0];
    if (sizeof(T) > 4) both |= static_cast<uint64_t>(words[1]) << 32;
    return port == both;
}
template <std::size_t N> static bool same(const VlWide<N> &port, const uint32_t *words)
{
    for (std::size_t i = 0; i < N; i++)
        if (port[i] != words[i]) return false;
    return true;
}
template <class T> static void show(const T &port, int)
{
    std::printf(" %llx", static_cast<unsigned long long>(port));
}
template <std::size_t N> static void show(const VlWide<N> &port, int)
{
    std::printf(" ");
    for (std::size_t i = N; i-- > 0;) std::printf("%08x", port[i]);
}

/* A line a vector, a hexadecimal number a port: words of 32 bits, the lowest first. */
static std::vector<uint32_t> read(const char *path, const std::vector<int> &widths)
{
    std::vector<uint32_t> found;
    std::ifstream file(path);
    std::string line, number;
    std::getline(file, line);
    while (std::getline(file, line)) {
        std::istringstream parts(line);
        for (int words : widths) {
            if (!words) continue;
            parts >> number;
            for (int k = 0; k < words; k++) {
                const int end = static_cast<int>(number.size()) - 8 * k;
                const int start = end > 8 ? end - 8 : 0;
                found.push_back(end > 0 ? std::strtoul(number.substr(start, end - start).c_str(), nullptr, 16) : 0);
            }
        }
    }
    return found;
}

struct Step {
    long drive;
    int enable, valid;
    long check;
    int check_valid;
};

int main(int, char **argv)
{
    auto context = std::make_unique<VerilatedContext>();
    context->randReset(2);
    context->randSeed(@seed@);
    auto dut = std::make_unique<Vcircuit>(context.get());
    const auto inputs = read(argv[1], {@in_widths@}), outputs = read(argv[2], {@out_widths@});
    const std::vector<uint32_t> zero(@in_words@ + 2, 0);
    std::ifstream plan(argv[3]);
    Step step;
    long cycle = 0, checked = 0;
    const auto tick = [&] {
        @clocked@
    };
    (void)tick;
    {
        @start@
        @reset@
    }
    for (; plan >> step.drive >> step.enable >> step.valid >> step.check >> step.check_valid; cycle++) {
        const uint32_t *in = inputs.data() + step.drive * @in_words@;
        const uint32_t *out = outputs.data() + (step.check < 0 ? 0 : step.check) * @out_words@;
        bool good = true;
        (void)in;
        (void)out;
        @drive@
        dut->eval();
        @valid@
        if (step.check >= 0) {
        checked++;
        @check@
        }
        if (!good) {
            std::printf("wrong %ld %ld", checked, cycle);
            @shown@
            std::printf("\\n");
            return 1;
        }
        tick();
        if (cycle % @news@ == @news@ - 1) {
            std::printf("cycle %ld\\n", cycle + 1);
            std::fflush(stdout);
        }
    }
    std::printf("right %ld\\n", checked);
    return 0;
}
"""
