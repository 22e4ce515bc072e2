"""A name in the TOML file → a stage class, and its options checked.

A name is looked up among the built-in stages, then in the entry-point group `trioproxy.stages`, and if it contains a
colon as `module:Class` beside the TOML file. Only what is used is imported.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, Union, get_args, get_origin, get_type_hints

import msgspec

from trioproxy import toml
from trioproxy.errors import Problem
from trioproxy.stage import Stage
from trioproxy.stages import BUILT_IN
from trioproxy.units import Seconds, Size

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

__all__ = [
    "REQUIRED",
    "Misfit",
    "Option",
    "StageClass",
    "Unusable",
    "anew",
    "beside",
    "built_in",
    "check",
    "convert",
    "did_you_mean",
    "find",
    "names",
    "options",
    "read_options",
    "told",
]

StageClass = type[Stage[Any, Any]]

GROUP = "trioproxy.stages"

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_EXAMPLE = "class Mine(Stage[Event, Event]): …"


class Unusable(Exception):
    """A stage that cannot be used; `problem` says why."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.problem = Problem(message, hint)
        super().__init__(message)


class Misfit(ValueError):
    """A value of the wrong type: what was expected, what was got, and `below`, where in the value it is."""

    def __init__(self, message: str, hint: str = "", below: tuple[str | int, ...] = ()) -> None:
        self.hint, self.below = hint, below
        super().__init__(message)


class Option(msgspec.Struct, frozen=True):
    """One option of a stage, a keyword argument of its constructor. `default` is REQUIRED if it must be given."""

    name: str
    parameter: str
    kind: Any  # a type annotation
    default: Any


REQUIRED = inspect.Parameter.empty


def names() -> list[str]:
    """Every stage that can be named without a colon: the built-in ones in the order of a pipeline, then others."""
    return [*BUILT_IN, *sorted({entry.name for entry in _entries()} - BUILT_IN.keys())]


def find(name: str, directory: Path) -> StageClass:
    """The class behind `name`; `directory` is where the TOML file is. Raises `Unusable`."""
    if name in BUILT_IN:
        return _load(name, BUILT_IN[name])
    entries = {entry.value: entry for entry in _entries() if entry.name == name}
    if len(entries) > 1:
        packages = sorted(entry.dist.name if entry.dist else repr(value) for value, entry in entries.items())
        hint = "uninstall one, or name its class: 'module:Class'"
        raise Unusable(f"two packages offer a stage '{name}': {' and '.join(packages)}", hint)
    if entries:
        return _load(name, next(iter(entries)), "its package is installed, but not whole: install it again")
    if _CLASS.fullmatch(name):
        # A first stage of one's own is one .py file beside the TOML file. Its directory goes first: the file the user
        # looks at must win over an installed module of the same name.
        if str(directory) not in sys.path:
            sys.path.insert(0, str(directory))
        _check_not_hidden(name, directory)
        beside = f"put {name.partition(':')[0].replace('.', '/')}.py beside the TOML file"
        return _load(name, name, _module_meant(name) or beside)
    hint = (
        _module_meant(name)
        or did_you_mean(name, names())
        or "python -m trioproxy stages lists them; one of your own is 'module:Class'"
    )
    raise Unusable(f"there is no stage '{name}'", hint)


def beside(directory: Path, stages: Iterable[StageClass]) -> dict[str, Path]:
    """The modules beside the TOML file that `stages` are of, with those they use: the name of each, and its file."""
    found: dict[str, Path] = {}
    names = [cls.__module__ for cls in stages]
    while names:
        name = names.pop()
        module = sys.modules.get(name)
        if name not in found and module is not None and (file := _file_beside(directory, name)):
            found[name] = file
            names += _imported(file, str(module.__package__ or ""))
    return found


def _imported(file: Path, package: str) -> Iterator[str]:
    """What the source in `file`, a module of `package`, imports; and what may be a module."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # to import it will tell
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            whole = ".".join([*above, *([node.module] if node.module else [])])
            yield from (whole, *(f"{whole}.{alias.name}" for alias in node.names))


def _file_beside(directory: Path, name: str) -> Path | None:
    """The file of a module, if `directory` is where it, or the package that it is in, was found."""
    top = name.partition(".")[0]
    origin, root = (getattr(sys.modules.get(each), "__file__", None) for each in (name, top))
    if top in ("__main__", "trioproxy") or not origin or not root:
        return None
    home = Path(root).parent.parent if Path(root).name == "__init__.py" else Path(root).parent
    return Path(origin) if home == directory else None


@contextmanager
def anew(directory: Path, stages: Iterable[StageClass]) -> Iterator[None]:
    """In the `with`, what `beside` gives is imported anew; if that raises, all is as it was before.

    Classes that were found before keep working, on the code that they were made of.
    """
    before = {name: sys.modules.pop(name) for name in beside(directory, stages)}
    for module in before.values():
        # Byte code counts as fresh while its source has the same second and size: of two quick edits one would be lost.
        if cached := getattr(module.__spec__, "cached", None):
            with suppress(OSError):
                Path(cached).unlink(missing_ok=True)
    importlib.invalidate_caches()
    try:
        yield
    except BaseException:
        sys.modules.update(before)
        raise


def _entries() -> "EntryPoints":
    from importlib.metadata import entry_points  # noqa: PLC0415  # 14 ms and 1 MiB, that only plugins need

    return entry_points(group=GROUP)


def _module_meant(name: str) -> str:
    """A hint for the path of a file in place of a module's name."""
    module, _, class_name = name.rpartition(":")
    better = module.removesuffix(".py").strip("./").replace("/", ".").replace("-", "_")
    if not re.search(r"[-/]|\.py$", module) or not _CLASS.fullmatch(f"{better}:{class_name}"):
        return ""
    file = f"{better.replace('.', '/')}.py"
    return f"a module's name has no '-', '/' or '.py': '{better}:{class_name}' is {class_name} of {file}"


def _check_not_hidden(name: str, directory: Path) -> None:
    """Raises `Unusable` if another module stands for the file that the user looks at."""
    top = re.split("[.:]", name)[0]
    file = directory / f"{top}.py"
    origin = getattr(sys.modules.get(top), "__file__", None)
    loaded = top in sys.modules and (origin is None or Path(origin).resolve() != file.resolve())
    if file.is_file() and (loaded or top in sys.builtin_module_names):
        whose = "a module of Python" if top in sys.stdlib_module_names else "an installed module"
        raise Unusable(f"stage '{name}': '{top}' is also {whose}", f"rename {top}.py")


def built_in() -> Mapping[str, StageClass]:
    """The built-in stages, all imported."""
    return {name: _load(name, where) for name, where in BUILT_IN.items()}


def _load(name: str, where: str, hint: str = "") -> StageClass:
    module_name, _, class_name = where.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (
        Exception,
        SystemExit,
    ) as exc:  # a module may do anything when imported; the operator is told what and where
        missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if missing and f"{module_name}.".startswith(f"{missing}."):
            raise Unusable(f"stage '{name}': there is no module '{module_name}'", hint) from exc
        raise Unusable(f"stage '{name}' cannot be imported: {told(exc, module_name)}") from exc
    cls = getattr(module, class_name, None)
    if cls is None:
        classes = [key for key, value in vars(module).items() if _is_stage(value)]
        hint = did_you_mean(class_name, classes) or (f"it has: {', '.join(classes)}" if classes else _EXAMPLE)
        raise Unusable(f"stage '{name}': module '{module_name}' has no '{class_name}'", hint)
    return check(name, cls)


def check(name: str, cls: object) -> StageClass:
    """`cls`, which goes by `name`, if it is a stage that can be used. Raises `Unusable`."""
    if not _is_stage(cls):
        raise Unusable(f"stage '{name}' is not a subclass of trioproxy.Stage", _EXAMPLE)
    if not cls.takes or not cls.gives:
        raise Unusable(f"stage '{name}' does not say what it takes and gives", _EXAMPLE)
    if all(getattr(cls, method) is getattr(Stage, method) for method in ("feed", "feed_all", "run")):
        raise Unusable(f"stage '{name}' has no feed()", "def feed(self, item, /): yield item")
    try:
        options(cls)
    except (NameError, TypeError, ValueError) as exc:
        raise Unusable(f"stage '{name}': the options of its constructor cannot be read: {exc}") from exc
    return cls


def _is_stage(value: object) -> TypeGuard[StageClass]:
    return isinstance(value, type) and issubclass(value, Stage) and value is not Stage


def told(exc: BaseException, module_name: str) -> str:
    """What was raised, and the last line of the user's own module that led to it."""
    traceback, where = exc.__traceback__, ""
    while traceback:
        frame = traceback.tb_frame
        if frame.f_globals.get("__name__") == module_name:
            where = f" ({Path(frame.f_code.co_filename).name}, line {traceback.tb_lineno})"
        traceback = traceback.tb_next
    return f"{type(exc).__name__}: {exc}{where}"


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
    values: Mapping[str, tuple[Any, bool] | None],
    report: Callable[[tuple[str | int, ...], Problem], None],
) -> partial[Stage[Any, Any]] | None:
    """Check the option `values` of stage `name` and give what makes a fresh stage with them; None after a problem.

    With each value comes whether its type must be exact (text of the environment may spell a number); None is a value
    that could not be had. Every problem goes to `report` with the way to the value it is about; the empty way is the
    stage as a whole.
    """
    known = {option.name: option for option in options(cls)}
    arguments: dict[str, Any] = {}
    problems: list[tuple[tuple[str | int, ...], Problem]] = []
    for key, given in values.items():
        option = known.get(key)
        if option is None:
            hint = did_you_mean(key, known) or (f"its options: {', '.join(known)}" if known else "it has no options")
            problems.append(((key,), Problem(f"stage '{name}' has no option '{key}'", hint)))
        elif given is not None:
            try:
                arguments[option.parameter] = convert(given[0], option.kind, strict=given[1])
            except Misfit as exc:
                problems.append(((key, *exc.below), Problem(f"{key}: {exc}", exc.hint)))
    for option in known.values():
        if option.default is REQUIRED and option.name not in values:
            hint = f"for instance:\n[stages.{toml.key(name)}]\n{option.name} = …"
            problems.append(((), Problem(f"stage '{name}' needs the option '{option.name}'", hint)))
    # What the constructor refuses is told along with the rest, of the options that could be read.
    if arguments.keys() >= {option.parameter for option in known.values() if option.default is REQUIRED}:
        try:
            cls(**arguments)
        except (ValueError, TypeError) as exc:
            about = str(exc).partition(" ")[0].replace("_", "-")  # "within must be 1 or more" is about `within`
            problems.append(((about,) if about in values else (), Problem(f"stage '{name}': {exc}")))
        except Exception as exc:  # a plugin's constructor may raise anything; the operator is told, with where
            problems.append(((), Problem(f"stage '{name}': {told(exc, cls.__module__)}")))
    for below, problem in problems:
        report(below, problem)
    return None if problems or None in values.values() else partial(cls, **arguments)


_WHERE = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")


def convert(value: Any, kind: Any, *, strict: bool = True) -> Any:
    """`value` of the TOML file as a `kind`; if not `strict`, text may spell a number or a truth value.

    Raises `Misfit` that says what was expected and what was got.
    """
    choice = _of_one_kind(kind)
    try:
        return msgspec.convert(_spelled(value, choice, strict=strict), kind, strict=strict, dec_hook=_units)
    except msgspec.ValidationError as exc:
        message, where = _WHERE.sub("", str(exc)), _WHERE.search(str(exc))
        steps = tuple(int(index) if index else name for index, name in _STEP.findall(where[1])) if where else ()
        if get_origin(choice) is Literal:
            choices = [str(each) for each in get_args(choice)]
            if isinstance(value, str):
                message = f"Expected {' or '.join(f'{choice!r}' for choice in choices)}, got {value!r}"
                raise Misfit(message, did_you_mean(value.lower(), choices)) from exc
        elif choice is bool and isinstance(value, str) and not strict:
            message = f"Expected true or false (or {', '.join(_SWITCHES)}, 1, 0), got another text"
        elif ", got" not in message and not steps and isinstance(value, int | float):
            message = f"{message}, got {value!r}"  # of text msgspec itself says what can be said: it may be a secret
        raise Misfit(message.replace("`object`", "`table`"), "", steps) from exc
    except (NotImplementedError, TypeError) as exc:  # the author's annotation, not the operator's value
        raise Misfit(f"its type, {getattr(kind, '__name__', kind)}, cannot stand in a TOML file") from exc


_SWITCHES = {"yes": True, "no": False, "on": True, "off": False}  # beside true, false, 1 and 0


def _of_one_kind(kind: Any) -> Any:
    """What `X | None` is if it is not None; any other kind is itself."""
    kinds = (
        [each for each in get_args(kind) if each is not type(None)] if get_origin(kind) in (Union, UnionType) else []
    )
    return kinds[0] if len(kinds) == 1 else kind


def _spelled(value: Any, kind: Any, *, strict: bool) -> Any:
    """Text as the type has it: words are often written in capitals, those of the environment above all."""
    word = value.strip().lower() if isinstance(value, str) else ""
    if kind is bool and word and not strict:
        return _SWITCHES.get(word, word)
    return word if get_origin(kind) is Literal and word in get_args(kind) else value


def _units(kind: type, value: object) -> object:
    if issubclass(kind, Seconds | Size) or hasattr(kind, "read"):
        return kind.read(value)
    raise NotImplementedError(f"no TOML value can be a {kind.__name__}")


def did_you_mean(got: str, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or an empty string."""
    from difflib import get_close_matches  # noqa: PLC0415  # only who has mistyped something needs it

    near = get_close_matches(got, list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""
