"""A name in the TOML file → a stage class, and its options checked.

A name is looked up among the built-in stages, then in the entry-point group `trioproxy.stages`, and if it contains a
colon as `module:Class` beside the TOML file. Only what is used is imported.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from trioproxy.errors import Problem
from trioproxy.stage import Stage
from trioproxy.stages import BUILT_IN
from trioproxy.units import Seconds, Size

__all__ = ["Option", "StageClass", "Unusable", "built_in", "convert", "did_you_mean", "find", "names", "options", "read_options"]

StageClass = type[Stage[Any, Any]]

GROUP = "trioproxy.stages"


class Unusable(Exception):
    """A stage that cannot be used; `problem` says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.problem = Problem(message, hint)
        super().__init__(message)


class Option(msgspec.Struct, frozen=True):
    """One option of a stage, a keyword argument of its constructor. `default` is REQUIRED if it must be given."""

    name: str
    parameter: str
    kind: Any  # a type annotation
    default: Any


REQUIRED = inspect.Parameter.empty


def names() -> list[str]:
    """Every stage that can be named without a colon."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


def find(name: str, directory: Path) -> StageClass:
    """The class behind `name`; `directory` is where the TOML file is. Raises `Unusable`."""
    if name in BUILT_IN:
        return _load(name, BUILT_IN[name])
    entries = {entry.value: entry for entry in entry_points(group=GROUP) if entry.name == name}
    if len(entries) > 1:
        packages = " and ".join(sorted(f"{entry.dist.name if entry.dist else value!r}" for value, entry in entries.items()))
        raise Unusable(f"two packages offer a stage '{name}': {packages}", "uninstall one, or name its class: 'module:Class'")
    if entries:
        return _load(name, next(iter(entries)))
    if ":" in name:
        # A first stage of one's own is one .py file beside the TOML file. Its directory goes first: the file the user
        # looks at must win over an installed module of the same name.
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
        return _load(name, name)
    hint = did_you_mean(name, names()) or "python -m trioproxy stages lists them; one of your own is 'module:Class'"
    raise Unusable(f"there is no stage '{name}'", hint)


def built_in() -> Mapping[str, StageClass]:
    """The built-in stages, all imported."""
    return {name: _load(name, where) for name, where in BUILT_IN.items()}


def _load(name: str, where: str) -> StageClass:
    module_name, _, class_name = where.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name and module_name.startswith(exc.name):
            raise Unusable(f"stage '{name}': there is no module '{module_name}'", f"put {module_name}.py beside the file") from exc
        raise Unusable(f"stage '{name}' cannot be imported: {exc}") from exc
    except Exception as exc:  # a plugin's module may raise anything; the operator is told, with where
        where_from = _last_line(exc, module_name)
        raise Unusable(f"stage '{name}' cannot be imported: {type(exc).__name__}: {exc}{where_from}") from exc
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [key for key, value in vars(module).items() if _is_stage(value)]
        raise Unusable(f"stage '{name}': module '{module_name}' has no '{class_name}'", did_you_mean(class_name, classes))
    if not _is_stage(cls):
        raise Unusable(f"stage '{name}' is not a subclass of trioproxy.Stage", "class Mine(Stage[Event, Event]): …")
    if not cls.takes or not cls.gives:
        raise Unusable(f"stage '{name}' does not say what it takes and gives", "class Mine(Stage[Event, Event]): …")
    return cls  # type: ignore[no-any-return]  # _is_stage has seen it


def _is_stage(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Stage) and value is not Stage


def _last_line(exc: BaseException, module_name: str) -> str:
    traceback = exc.__traceback__
    found = ""
    while traceback:
        file = Path(traceback.tb_frame.f_code.co_filename)
        if file.stem == module_name.rpartition(".")[2]:
            found = f" ({file.name}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return found


# ── options ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def options(cls: StageClass) -> list[Option]:
    """The options of a stage: the keyword arguments of its constructor."""
    hints = get_type_hints(cls.__init__)
    return [
        Option(name.replace("_", "-"), name, hints.get(name, Any), parameter.default)
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def read_options(
    name: str,
    cls: StageClass,
    values: Mapping[str, tuple[Any, bool]],
    report: Callable[[str | None, Problem], None],
) -> Callable[[], Stage[Any, Any]]:
    """Check the option `values` of stage `name` and give what makes a fresh stage with them.

    With each value comes whether its type must be exact (text of the environment may spell a number). Every problem
    goes to `report` with the option it is about (None: the stage as a whole).
    """
    known = {option.name: option for option in options(cls)}
    arguments: dict[str, Any] = {}
    wrong = False
    for key, (value, strict) in values.items():
        option = known.get(key)
        if option is None:
            hint = did_you_mean(key, known) or (f"its options: {', '.join(known)}" if known else "it has no options")
            report(key, Problem(f"stage '{name}' has no option '{key}'", hint))
            wrong = True
            continue
        try:
            arguments[option.parameter] = convert(value, option.kind, strict=strict)
        except ValueError as exc:
            report(key, Problem(f"{key}: {exc}"))
            wrong = True
    missing = [option.name for option in known.values() if option.default is REQUIRED and option.parameter not in arguments]
    if missing and not wrong:
        report(None, Problem(f"stage '{name}' needs the option '{missing[0]}'", f"[stages.{name}] {missing[0]} = …"))
        wrong = True
    if not wrong:
        try:
            cls(**arguments)
        except (ValueError, TypeError) as exc:
            report(None, Problem(f"stage '{name}': {exc}"))
    return lambda: cls(**arguments)


def convert(value: Any, kind: Any, *, strict: bool = True) -> Any:
    """`value` of the TOML file as a `kind`. Raises `ValueError` that says what was expected and what was got."""
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=_units)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc


def _units(kind: type, value: object) -> object:
    if issubclass(kind, Seconds | Size) or hasattr(kind, "read"):
        return kind.read(value)  # type: ignore[attr-defined]  # just seen
    raise NotImplementedError(f"no TOML value can be a {kind.__name__}")


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or an empty string."""
    near = get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
