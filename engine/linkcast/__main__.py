"""`python -m linkcast` is the command `linkcast`; `--cmakedir` and its like tell a build where it is."""

from __future__ import annotations

import sys

_BUILD_FOLDERS = {"--cmakedir": "cmake", "--includedir": "include", "--pkgconfigdir": "pkgconfig", "--godir": "go"}


def main() -> None:
    """Prints a folder that builds ask for, which needs none of the command line's packages; else runs that."""
    if len(sys.argv) == 2 and sys.argv[1] in _BUILD_FOLDERS:
        from pathlib import Path

        from linkcast import _native

        print(Path(_native.__file__).resolve().parent / _BUILD_FOLDERS[sys.argv[1]])
        return
    try:
        from linkcast.cli import main as run_command_line
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich", "click"):
            raise
        from linkcast.extras import install

        print(f"linkcast: the command line needs {error.name}: {install('cli')}", file=sys.stderr)
        sys.exit(1)
    run_command_line()


if __name__ == "__main__":
    main()
