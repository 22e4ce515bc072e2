"""Units of the TOML file: `"10s"`, `"40ms"`, `"2m"` are Seconds, `"64 KiB"` is a Size in bytes. Plain numbers too."""

import re

__all__ = ["Seconds", "Size", "show_seconds", "show_size"]

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_TOO_MANY = 10**15  # seconds or bytes; beyond it, arithmetic with floats would overflow or lose whole numbers
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", re.ASCII)


class Seconds(float):
    """A length of time in seconds."""

    @classmethod
    def read(cls, value: object) -> "Seconds":
        """From a TOML value. Raises `ValueError` that says what was expected."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            seconds = float(min(value, _TOO_MANY))
        elif isinstance(value, str) and (match := _NUMBER.fullmatch(value)) and match[2] in _SECONDS:
            seconds = float(match[1]) * _SECONDS[match[2]]
        else:
            raise ValueError(f'Expected a time such as "10s", "40ms" or "2m", got {value!r}')
        if not 0 <= seconds < _TOO_MANY:
            raise ValueError(f"Expected a time of 0 or more, got {value!r}")
        return cls(seconds)


class Size(int):
    """A number of bytes."""

    @classmethod
    def read(cls, value: object) -> "Size":
        """From a TOML value. Raises `ValueError` that says what was expected."""
        if isinstance(value, int) and not isinstance(value, bool):
            size = value
        elif isinstance(value, str) and (match := _NUMBER.fullmatch(value)) and match[2].lower() in _SIZES:
            size = int(min(float(match[1]), _TOO_MANY) * _SIZES[match[2].lower()])
        else:
            raise ValueError(f'Expected a size such as "64 KiB" or "16 MiB", or a number of bytes, got {value!r}')
        if not 0 < size < _TOO_MANY:
            raise ValueError(f"Expected a size of 1 byte or more, got {value!r}")
        return cls(size)


def show_seconds(seconds: float) -> str:
    """As the TOML file would say it."""
    number, unit = (seconds * 1000, "ms") if 0 < seconds < 1 else (seconds, "s")
    if seconds >= 3600 and seconds % 3600 == 0:
        number, unit = seconds / 3600, "h"
    return f"{number:.6f}".rstrip("0").rstrip(".") + unit


def show_size(size: int) -> str:
    """As the TOML file would say it."""
    for name, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size % factor == 0:
            return f"{size // factor} {name}"
    return f"{size} B"
