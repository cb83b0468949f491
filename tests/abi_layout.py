"""The binary layout of linkcast.h: sizes and offsets of its structs, and the values of its constants, as gcc sees them.

`python tests/abi_layout.py > cpp/tests/abi_baseline.txt` records it, once something has been added.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from conftest import ROOT, run

HEADER = ROOT / "cpp" / "include" / "linkcast" / "linkcast.h"
BASELINE = ROOT / "cpp" / "tests" / "abi_baseline.txt"


def layout(header: str) -> list[str]:
    """Lines such as "linkcast_answer 32", "linkcast_answer.mbps 8 4" (offset and size) and "LINKCAST_OK 0"."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    prints = []
    for name, body in re.findall(r"struct (linkcast_\w+) \{(.*?)\}", text, flags=re.DOTALL):
        prints.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for field in re.findall(r"(\w+)(?:\[\w+\])?;", body):
            place = f"offsetof(struct {name}, {field}), sizeof(((struct {name}*)0)->{field})"
            prints.append(f'printf("{name}.{field} %zu %zu\\n", {place});')
    for body in re.findall(r"enum linkcast_\w+ \{(.*?)\}", text, flags=re.DOTALL):
        prints += [f'printf("{name} %d\\n", (int){name});' for name in re.findall(r"(LINKCAST_\w+) =", body)]
    for name in re.findall(r"#define (LINKCAST_(?:LIMIT|MAX)_\w+) \d", text):
        prints.append(f'printf("{name} %d\\n", (int){name});')
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "linkcast.h").write_text(header, encoding="utf-8")
        includes = '#include <stdio.h>\n#include "linkcast.h"\n'
        program = includes + "int main(void) {\n" + "\n".join(prints) + "\nreturn 0;\n}\n"
        (Path(folder) / "layout.c").write_text(program, encoding="utf-8")
        run("gcc", "-std=c99", "layout.c", "-o", "layout", cwd=Path(folder))
        return run(Path(folder) / "layout", cwd=Path(folder)).splitlines()


def breaks(before: list[str], now: list[str]) -> list[str]:
    """What a program that was compiled before would get wrong: all that is gone or elsewhere.

    A struct may grow by fields behind its old end; one in its padding can't be told from what a program left there.
    """
    present = {line.split()[0]: line.split()[1:] for line in now}
    broken = []
    for line in before:
        name, *numbers = line.split()
        found = present.get(name)
        grown = found is not None and name.islower() and "." not in name and int(found[0]) >= int(numbers[0])
        if found != numbers and not grown:
            broken.append(f"{line}: now {' '.join(found) if found else 'gone'}")
    sizes = {name: int(numbers[0]) for name, *numbers in map(str.split, before) if "." not in name}
    known = {line.split()[0] for line in before}
    for name, numbers in present.items():
        struct = name.split(".")[0]
        if "." in name and name not in known and int(numbers[0]) < sizes.get(struct, 0):
            broken.append(f"{name} {' '.join(numbers)}: within the {sizes[struct]} bytes that {struct} had before")
    return broken


if __name__ == "__main__":
    print("\n".join(layout(HEADER.read_text(encoding="utf-8"))))
