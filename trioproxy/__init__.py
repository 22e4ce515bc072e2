"""trioproxy: an LLM proxy that never breaks a stream, whose pipeline is a file you reorder.

What a stage of your own needs is exported here (and `trioproxy.testing` for its tests); nothing else is public.
"""

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

__all__ = [
    "Batch",
    "Block",
    "BlockStart",
    "BlockStop",
    "ConfigError",
    "Error",
    "Event",
    "Exchange",
    "Frame",
    "Image",
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
    "Request",
    "Seconds",
    "Send",
    "SignatureDelta",
    "Size",
    "Stage",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "ToolInputDelta",
    "ToolResult",
    "ToolUse",
    "Unknown",
    "Usage",
    "replace",
]

__version__ = "0.1.0"
