"""trioproxy: an LLM proxy that never breaks a stream, whose pipeline is a file you reorder.

What a stage of your own needs is exported here (and `trioproxy.testing` for its tests), and what a program needs that
carries the proxy inside; nothing else is public.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from trioproxy.errors import ConfigError, ProxyError
from trioproxy.items import (
    Block,
    BlockStart,
    BlockStop,
    Error,
    Event,
    Frame,
    Image,
    Message,
    MessageDelta,
    MessageStart,
    MessageStop,
    OtherBlock,
    OtherDelta,
    Ping,
    RedactedThinking,
    Request,
    SignatureDelta,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolInputDelta,
    ToolResult,
    ToolUse,
    Unknown,
    Usage,
    replace,
)
from trioproxy.stage import Batch, Exchange, Receive, Send, Stage
from trioproxy.units import Seconds, Size

if TYPE_CHECKING:
    from trioproxy.config import Config
    from trioproxy.config.built import configure
    from trioproxy.embed import InThread, Registered, Running, load_config, open_proxy, run_in_thread, serve
    from trioproxy.store import StoreError

__all__ = [
    "Batch",
    "Block",
    "BlockStart",
    "BlockStop",
    "Config",
    "ConfigError",
    "Error",
    "Event",
    "Exchange",
    "Frame",
    "Image",
    "InThread",
    "Message",
    "MessageDelta",
    "MessageStart",
    "MessageStop",
    "OtherBlock",
    "OtherDelta",
    "Ping",
    "ProxyError",
    "Receive",
    "RedactedThinking",
    "Registered",
    "Request",
    "Running",
    "Seconds",
    "Send",
    "SignatureDelta",
    "Size",
    "Stage",
    "StoreError",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "ToolInputDelta",
    "ToolResult",
    "ToolUse",
    "Unknown",
    "Usage",
    "configure",
    "load_config",
    "open_proxy",
    "replace",
    "run_in_thread",
    "serve",
]

__version__ = "0.1.0"

# What serves is imported when it is asked for: a stage of one's own, and its tests, need none of it.
_SERVES = {
    "Config": "trioproxy.config",
    "InThread": "trioproxy.embed",
    "Registered": "trioproxy.embed",
    "Running": "trioproxy.embed",
    "StoreError": "trioproxy.store",
    "configure": "trioproxy.config.built",
    "load_config": "trioproxy.embed",
    "open_proxy": "trioproxy.embed",
    "run_in_thread": "trioproxy.embed",
    "serve": "trioproxy.embed",
}

if not TYPE_CHECKING:  # where mypy would take any name for one of these

    def __getattr__(name: str) -> object:
        if name not in _SERVES:
            raise AttributeError(f"module 'trioproxy' has no attribute '{name}'")
        return getattr(import_module(_SERVES[name]), name)
