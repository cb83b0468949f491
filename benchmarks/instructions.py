"""Instructions that a call of the kernels takes: a measure that does not depend on how busy the machine is.

    python benchmarks/instructions.py x86 BUILD/cpp/bench/kernel-calls          # valgrind, AVX2 and scalar
    python benchmarks/instructions.py aarch64 BUILD-ARM/cpp/bench/kernel-calls  # qemu-user: NEON, its kernels, scalar

compares each count with benchmarks/instructions.json and exits 1 when a call costs more than its tolerance allows.
Counts depend on the compiler, which the file names; with another one nothing is compared. `--update` writes the counts
into the file, `--estimate` (aarch64) prints what they may take on boards. `kernel-calls` is built with
`-DLINKCAST_BUILD_BENCH=ON`. A count is the difference between two runs, of N and 2 N calls, divided by N.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

EXPECTED = Path(__file__).with_suffix(".json")
TOLERANCE = 0.02  # memcpy and the like are chosen by the processor that counts
CALLS = {"forecast": 2, "push": 10, "advance": 2, "decide": 20, "forecast_100": 1}
ISAS = {"x86": ("avx2", "scalar"), "aarch64": ("neon", "scalar")}
# Tables of kernels that are counted beside those of float32: what each instruction of a newer CPU saves.
TABLES = {
    "x86": (),
    "aarch64": (
        "bf16_neon",
        "bf16_neon_dot",
        "bf16_neon_matrix",
        "int8_neon",
        "int8_neon_dotprod",
        "int8_neon_i8mm",
    ),
}


def environment(kernels: str) -> dict[str, str]:
    """Of an ISA, or of the one that a table's name holds."""
    return {**os.environ, "LINKCAST_ISA": kernels.split("_")[1] if "_" in kernels else kernels}


def command(program: Path, kernels: str, workload: str, calls: int) -> list[str | Path]:
    return [program, workload, str(calls), *([kernels] if "_" in kernels else [])]


def compiler_of(program: Path) -> str:
    """The compiler's major version, which the program carries: "g++ 12"."""
    command = ["readelf", "-p", ".comment", program]
    comment = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version = re.search(r"GCC: \(.*\) (\d+)\.", comment)
    return f"g++ {version[1]}" if version else "unknown"


def callgrind(program: Path, kernels: str, workload: str) -> float:
    """Instructions of a call under valgrind, which runs up to AVX2."""

    def total(calls: int) -> int:
        tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        line = [*tool, *command(program, kernels, workload, calls)]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env=environment(kernels))
        found = re.search(r"Collected : (\d+)", done.stderr)
        if done.returncode != 0 or not found:
            raise SystemExit(f"{' '.join(map(str, line))}\n{done.stdout}{done.stderr}")
        return int(found[1])

    calls = CALLS[workload]
    return (total(2 * calls) - total(calls)) / calls


def qemu(program: Path, kernels: str, workload: str) -> Counter[str]:
    """Instructions of a call by mnemonic, from qemu's log of translated and executed blocks.

    A vector instruction is told by its registers: "fmla.4s" and "ldr.q" stand beside "ldr".
    """

    def executed(calls: int) -> Counter[str]:
        cpu = "max" if "_" in kernels else "cortex-a72"
        emulator = ["qemu-aarch64-static", "-cpu", cpu, "-L", "/usr/aarch64-linux-gnu"]
        read, write = os.pipe()
        log = ["-d", "in_asm,exec,nochain", "-D", f"/proc/self/fd/{write}"]
        process = subprocess.Popen(
            [*emulator, *log, *command(program, kernels, workload, calls)], pass_fds=[write], env=environment(kernels)
        )
        os.close(write)
        blocks: dict[str, list[str]] = {}  # by the address of the first instruction
        runs: Counter[str] = Counter()
        fresh: list[str] = []
        with os.fdopen(read, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("Trace"):
                    runs[line.split("/", 2)[1]] += 1
                elif line.startswith("IN:"):
                    fresh = []
                elif line.startswith("0x"):
                    address, _, text = line.split(maxsplit=2)
                    if not fresh:
                        blocks[address[2:-1].rjust(16, "0")] = fresh
                    fresh.append(text)
        if process.wait() != 0:
            raise SystemExit(f"{program} {workload} {kernels}: failed under qemu")
        mix: Counter[str] = Counter()
        for address, count in runs.items():
            for text in blocks[address]:
                mix[mnemonic(text)] += count
        return mix

    calls = CALLS[workload]
    once, twice = executed(calls), executed(2 * calls)
    return Counter({name: (twice[name] - once[name]) / calls for name in twice if twice[name] != once[name]})


def mnemonic(text: str) -> str:
    name, _, operands = text.partition(" ")
    operands = operands.strip()
    if name.startswith(("ld", "st")) and operands.startswith("q"):
        return f"{name}.q"
    vector = re.match(r"v\d+(\.\w+)", operands)
    return name + (vector[1] if vector else "")


@dataclass
class Core:
    """Published figures of a core; the board's clock."""

    name: str
    ghz: float
    issue: int  # instructions decoded in a cycle
    multiply_adds: float  # vectors of four in a cycle
    loads: float  # of 16 bytes in a cycle
    l2_bytes: float  # in a cycle, sustained; assumed: half of the bus


CORES = (
    Core("Cortex-A72, 1.5 GHz (Raspberry Pi 4)", 1.5, 3, 1, 1, 8),
    Core("Cortex-A76, 2.4 GHz (Raspberry Pi 5)", 2.4, 4, 2, 2, 16),
)
# Bytes of weights that a call reads from the second-level cache. Forecaster, 129,024 weights in its LSTMs: the
# recurrent ones (86,016) at each of ten steps, the input ones once in six steps; push reads all once, advance twice (a
# batch is cut into six rows at most). Allocator: 11,200 weights, once.
WEIGHT_BYTES = {
    "forecast": 4 * (10 * 86_016 + 2 * 43_008),
    "push": 4 * 129_024,
    "advance": 2 * 4 * 129_024,
    "decide": 4 * 11_200,
}
ARITHMETIC = ("fmla", "fmls", "fmul", "fadd", "fsub")


def estimate(workload: str, mix: Counter[str]) -> str:
    """Microseconds on each core: between the tightest single limit and the sum of arithmetic and memory."""
    multiply_adds = sum(count for name, count in mix.items() if name.startswith(ARITHMETIC) and "." in name)
    loads = sum(count * (2 if name.startswith("ldp") else 1) for name, count in mix.items() if name.startswith("ld"))
    parts = []
    for core in CORES:
        arithmetic = max(mix.total() / core.issue, multiply_adds / core.multiply_adds, loads / core.loads)
        memory = WEIGHT_BYTES[workload] / core.l2_bytes
        low, high = (cycles / core.ghz * 1e-3 for cycles in (max(arithmetic, memory), arithmetic + memory))
        parts.append(f"{core.name}: {low:.3g} to {high:.3g} us")
    return f"  estimate of {workload}, not a measurement: " + "; ".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machine", choices=ISAS)
    parser.add_argument("program", type=Path)
    parser.add_argument("--update", action="store_true", help="write the counts into instructions.json")
    parser.add_argument("--estimate", action="store_true", help="what the NEON counts may take on boards")
    parser.add_argument("--workloads", nargs="+", choices=CALLS, default=["forecast", "push", "advance", "decide"])
    options = parser.parse_args()

    expected = json.loads(EXPECTED.read_text(encoding="utf-8")) if EXPECTED.exists() else {}
    compiler = compiler_of(options.program)
    known = expected.get(options.machine, {})
    comparable = known.get("compiler") == compiler
    if not comparable and not options.update:
        print(f"compiled by {compiler}, counts are known for {known.get('compiler')}: nothing is compared")
    grown = []
    counts: dict[str, dict[str, int]] = {}
    for isa in (*ISAS[options.machine], *TABLES[options.machine]):
        for workload in options.workloads:
            mix = qemu(options.program, isa, workload) if options.machine == "aarch64" else None
            count = round(callgrind(options.program, isa, workload) if mix is None else mix.total())
            counts.setdefault(isa, {})[workload] = count
            before = known.get("counts", {}).get(isa, {}).get(workload)
            change = f"{count / before - 1:+.1%}" if before and comparable else ""
            print(f"{isa:17s} {workload:13s} {count:12,d} instructions a call {change}", flush=True)
            if comparable and before and count > before * (1 + TOLERANCE):
                grown.append(f"{isa} {workload}: {count:,d} instructions a call, {change} over {before:,d}")
            if mix is not None and options.estimate and isa == "neon":
                print("  " + ", ".join(f"{name} {round(n):,d}" for name, n in mix.most_common(8)))
                print(estimate(workload, mix))
    if options.update:
        merged = {isa: {**known.get("counts", {}).get(isa, {}), **counts[isa]} for isa in counts}
        expected[options.machine] = {"compiler": compiler, "counts": merged}
        EXPECTED.write_text(json.dumps(expected, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return 0
    for line in grown:
        print(f"SLOWER: {line} (tolerance {TOLERANCE:.0%}; if it is meant: --update)", file=sys.stderr)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
