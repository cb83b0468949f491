"""`python -m linkcast` is the command `linkcast`; `--cmakedir` and `--pkgconfigdir` tell a C build where it is."""

from __future__ import annotations

import sys

_BUILD_FOLDERS = {"--cmakedir": "cmake", "--pkgconfigdir": "pkgconfig"}


def main() -> None:
    """Prints the folder of linkcast-config.cmake or of linkcast.pc when asked for it; else runs the command line."""
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
        print(f"linkcast: the command line needs {error.name}: pip install 'linkcast[cli]'", file=sys.stderr)
        sys.exit(1)
    run_command_line()


if __name__ == "__main__":
    main()
