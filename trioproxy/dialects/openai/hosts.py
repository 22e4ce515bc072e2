"""What is known of upstreams by their host and model: how the tables of both dialects are read, and what they share."""

import re
from typing import Any

import msgspec

__all__ = ["AZURE", "FROM_5_6", "MISTRAL", "OPENAI", "REASONS", "XAI", "XAI_EFFORTS", "XHIGH", "Row", "found"]


class Row(msgspec.Struct, frozen=True):
    """What one source says of some upstreams."""

    hosts: tuple[str, ...]
    """".example.com" is any host below; () is every host."""
    models: str
    """A regular expression, looked for anywhere in the name; "" is every model."""
    ways: dict[str, Any]
    """Fields of the dialect's `Ways`."""


def found(table: tuple[Row, ...], host: str, model: str) -> dict[str, Any]:
    """The ways of a host for a model. Every row that matches counts, later ones over earlier ones."""
    fields: dict[str, Any] = {}
    for row in table:
        if _is_one_of(host, row.hosts) and re.search(row.models, model):
            fields |= row.ways
    return fields


def _is_one_of(host: str, hosts: tuple[str, ...]) -> bool:
    return not hosts or any(host.endswith(name) if name[0] == "." else host == name for name in hosts)


OPENAI = ("api.openai.com", ".api.openai.com", ".openai.azure.com", ".cognitiveservices.azure.com")
AZURE = (".openai.azure.com", ".cognitiveservices.azure.com")
XAI = ("api.x.ai",)

# The models of OpenAI that reason; gpt-5-chat-latest and the like do not. Bedrock calls them `openai.gpt-5.6`.
REASONS = r"^(?:ft:|openai[/.])?(?:o\d|gpt-oss|codex|gpt-[5-9](?!.*-chat))"
# "xhigh is supported for all models after gpt-5.1-codex-max": learn.microsoft.com, ReasoningEffort.
XHIGH = r"gpt-5\.(?:1-codex-max|[2-9])|gpt-[6-9]"
# The effort max, since 5.6: anomalyco/opencode#36141. We take newer ones to be like it.
FROM_5_6 = r"gpt-5\.[6-9]|gpt-[6-9]"

# Models of Mistral's family refuse a user's message after a tool's result wherever they run, and (most) the ids of
# others: NousResearch/hermes-agent#20154, aliou/pi-neuralwatt#12, zed-industries/zed#31736, ml-explore/mlx-lm#1375.
MISTRAL = r"(?i)mi[sx]tral|ministral|devstral|codestral|magistral|pixtral"

# docs.x.ai, reasoning: "Model does not support parameter reasoningEffort" but for these; the values are those of
# GET /v1/language-models (docs.rs/synaps, docs.rs/mindfork).
XAI_EFFORTS = (
    ("grok-3-mini", ("low", "high")),
    (r"grok-4\.[356]", ("low", "medium", "high")),
    (r"grok-4\.[7-9]|grok-[5-9]", ("low", "medium", "high", "xhigh")),
)
