"""The variants, one file each. A file holds `recipe(spec, *, ...) -> Recipe`, whose signature is its configuration, and
`PRESETS`. Adding a file here adds a variant everywhere: command line, documentation and tests find it by its name.
"""

from __future__ import annotations

import pkgutil


def names() -> list[str]:
    """The names of all variants; imports none of them."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))
