from trioproxy import Stage
from trioproxy.registry import built_in, options
from trioproxy.stages import BUILT_IN

# The two halves of one thing: what one writes, the other reads.
TOGETHER = {f"remember-{what}": f"replay-{what}" for what in ("thinking", "responses")}


def test_names_match_files_and_classes() -> None:
    """TOML name = file name = class name."""
    for name, where in BUILT_IN.items():
        module, _, cls = where.partition(":")
        assert module == f"trioproxy.stages.{TOGETHER.get(name, name).replace('-', '_')}"
        assert cls == "".join(part.capitalize() for part in name.split("-"))


def test_each_is_a_stage_with_a_first_line_and_defaults() -> None:
    for name, cls in built_in().items():
        assert issubclass(cls, Stage)
        assert cls.takes
        assert cls.gives
        assert (cls.__doc__ or "").strip().splitlines()[0].endswith("."), name
        assert all(option.default is not option.kind for option in options(cls))
        cls()
