"""Coverage of our modules for atheris, whichever way linkcast is installed."""

from __future__ import annotations

import inspect
from types import FunctionType, ModuleType

import atheris


def instrument(*modules: ModuleType) -> None:
    """Every function and method that these modules define. An import hook would miss those of an editable install."""
    for module in modules:
        owners = [module, *(one for one in vars(module).values() if inspect.isclass(one))]
        for owner in owners:
            for found in vars(owner).values():
                function = inspect.unwrap(found) if callable(found) else found
                if isinstance(function, FunctionType) and function.__module__ == module.__name__:
                    atheris.instrument_func(function)
