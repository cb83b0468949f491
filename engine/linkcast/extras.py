"""What the optional parts of linkcast need, and the command that installs it."""

from __future__ import annotations

import re
import shlex


def install(extra: str) -> str:
    """The command that installs an extra's packages: "pip install 'matplotlib>=3.8'".

    It names the packages, not linkcast[plot]: linkcast may have come from a clone or a wheel's file, and then pip would
    look for that on an index which does not have it, or has another's.
    """
    from importlib import metadata  # some milliseconds, that an import of linkcast need not take
    from platform import machine

    try:
        packages = _packages(extra, machine(), metadata.requires("linkcast") or [])
    except metadata.PackageNotFoundError:
        packages = [f"linkcast[{extra}]"]
    return f"pip install {shlex.join(packages)}"


def _packages(extra: str, machine: str, requirements: list[str]) -> list[str]:
    """Those of an extra and of the extras that it takes in."""
    packages: list[str] = []
    for requirement in requirements:
        package, _, marker = (part.strip() for part in requirement.partition(";"))
        if not re.search(rf"\bextra == ['\"]{extra}['\"]", marker):
            continue
        for_machine = re.search(r"platform_machine (==|!=) ['\"](\w+)['\"]", marker)
        if for_machine is not None and (for_machine[1] == "==") != (for_machine[2] == machine):
            continue
        own = re.fullmatch(r"linkcast\[(.+)\]", package)
        taken_in = own[1].split(",") if own is not None else []
        packages += [one for name in taken_in for one in _packages(name, machine, requirements)] or [package]
    return list(dict.fromkeys(packages))
