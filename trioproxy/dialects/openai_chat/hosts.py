"""The ways of Chat Completions upstreams, by host and model: what each takes, refuses, or calls by another name.

Every row of the table says where its knowledge is from. A host nobody wrote down gets the ways that most take, which
are those of servers with a chat template of their own (vLLM, llama.cpp, Ollama, LM Studio).
"""

from functools import lru_cache
from typing import Literal

import msgspec

from trioproxy.dialects.openai.hosts import (
    AZURE,
    FROM_5_6,
    MISTRAL,
    OPENAI,
    REASONS,
    XAI,
    XAI_EFFORTS,
    XHIGH,
    Row,
    found,
)
from trioproxy.dialects.target import Target

__all__ = ["Ways", "ways_of"]


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """What one upstream takes. The defaults are for a host that nobody wrote down."""

    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The field for the most tokens to answer with (H133)."""
    system_messages: Literal["keep", "hoist", "user"] = "user"
    """See `Target.system_messages`: chat templates refuse a system message that is not the first (H051)."""
    alternate: bool = True
    """Whether messages of one user in a row become one: chat templates want user and assistant by turns (H055)."""
    parts: bool = False
    """Whether several texts of one message stay apart; else they are one string, which everybody takes (H060)."""
    bridge: bool = False
    """Whether an assistant must speak between a tool's result and the user."""
    prefix: bool = False
    """Whether an answer's beginning at the end must be marked as such (H057)."""
    reasoning: Literal["drop", "replay"] = "drop"
    """Whether thinking of earlier turns goes back (H080, H081)."""
    effort: Literal["reasoning_effort", "reasoning", ""] = "reasoning_effort"
    """The field that says how hard to think; "" for none."""
    efforts: tuple[str, ...] = ("low", "medium", "high")
    """The values it takes, of those in `write_thinking`."""
    effort_with_tools: Literal["keep", "drop", "none"] = "keep"
    """What becomes of it beside tools (H088); "none" is said even if nothing was asked for."""
    switch: bool = False
    """Whether there is a `thinking` field of its own to turn thinking off."""
    sampling: bool = True
    """Whether `temperature` and `top_p` are taken (H085, H145)."""
    top_k: bool = False
    stops: int | None = None
    """How many stop sequences are taken (H139); None for any number."""
    parallel: bool = True
    """Whether `parallel_tool_calls` is taken."""
    user: Literal["safety_identifier", "user", ""] = ""
    """The field for who the user is. What `metadata.user_id` holds is a pseudonym of a person: only who is known to
    want it gets it."""
    tier: bool = False
    """Whether `service_tier` is known."""
    usage: bool = True
    """Whether `stream_options` is taken; who refuses it tells usage anyway."""
    schemas: bool = True
    """Whether answers can be held to a JSON schema; else to JSON only (H140)."""
    forbidden: frozenset[str] = frozenset()
    """Keywords of JSON Schema that are refused in tools (H131)."""
    id_length: int = 64
    """How long the id of a tool call can be (H064)."""
    nine: bool = False
    """Whether it must be nine letters and digits."""


_KIMI = ("api.moonshot.ai", "api.moonshot.cn", "api.kimi.com")
_GOOGLE = (
    "$schema", "$id", "$comment", "additionalProperties", "patternProperties", "propertyNames", "exclusiveMinimum",
    "exclusiveMaximum", "uniqueItems", "enumDescriptions",
)  # fmt: skip

_TABLE = (
    Row((), MISTRAL, {"bridge": True, "nine": True}),
    # api.openai.com answers "string too long … maximum length 40" to `tool_calls[].id`: microsoft/autogen#6377,
    # BerriAI/litellm#17343, Portkey-AI/gateway#1062 (Azure). `stop` is "Up to 4 sequences", a `safety_identifier` has
    # at most 64 characters and supersedes `user`: its API reference.
    Row(
        OPENAI,
        "",
        {
            "limit": "max_completion_tokens",
            "system_messages": "keep",
            "alternate": False,
            "parts": True,
            "effort": "",
            "stops": 4,
            "user": "safety_identifier",
            "tier": True,
            "id_length": 40,
        },
    ),
    # Azure's reference of the v1 API still has `user`.
    Row(AZURE, "", {"user": "user"}),
    # "temperature: only the default (1) value is supported", "stop is not supported with this model":
    # griptape-ai/griptape#1915, huggingface/smolagents#1671, BerriAI/litellm#15244.
    Row(OPENAI, REASONS, {"effort": "reasoning_effort", "sampling": False, "stops": 0}),
    # "parallel_tool_calls is not supported with this model": the o series only.
    Row(OPENAI, r"^(?:ft:|openai/)?o\d", {"parallel": False}),
    Row(OPENAI, XHIGH, {"efforts": ("none", "low", "medium", "high", "xhigh")}),
    Row(OPENAI, FROM_5_6, {"efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    # "Function tools with reasoning_effort are not supported … in /v1/chat/completions": openai/openai-openapi#541.
    # Since 5.6 that goes for the default too, "set reasoning_effort to 'none'": BerriAI/litellm#34569,
    # livekit/agents#7169. We take newer ones to be like it.
    Row(OPENAI, r"gpt-5\.[45]", {"effort_with_tools": "drop"}),
    Row(OPENAI, FROM_5_6, {"effort_with_tools": "none"}),
    # openrouter.ai/docs: `reasoning.effort`, `top_k`, system messages anywhere (it adapts them to the provider);
    # "expected one of xhigh|high|medium|low|minimal|none": earendil-works/pi#4801.
    Row(
        ("openrouter.ai",),
        "",
        {
            "system_messages": "keep",
            "alternate": False,
            "parts": True,
            "effort": "reasoning",
            "efforts": ("none", "minimal", "low", "medium", "high", "xhigh"),
            "top_k": True,
            "user": "user",
        },
    ),
    # Consecutive turns reach Mistral's templates as they are: charmbracelet/crush#279.
    Row(("openrouter.ai",), r"(?i)mi[sx]tral|ministral|devstral|codestral", {"alternate": True}),
    # docs.together.ai and docs.fireworks.ai, chat completions: `top_k`.
    Row(("api.together.xyz", "api.together.ai", "api.fireworks.ai"), "", {"top_k": True}),
    # api-docs.deepseek.com/guides/thinking_mode: `thinking.type`, the efforts it maps, and reasoning_content "must be
    # passed back" beside tool calls (SaladDay/cc-switch-cli#170). No json_schema: llm-exe/llm-exe#662.
    Row(
        ("api.deepseek.com",),
        "",
        {
            "reasoning": "replay",
            "efforts": ("minimal", "low", "medium", "high", "xhigh", "max"),
            "switch": True,
            "schemas": False,
        },
    ),
    # platform.kimi.ai/docs: kimi-k3 has low/high/max, older ones have no effort, 2.5 and 2.6 a switch that 2.7 answers
    # with an error; sampling of kimi-* is fixed (java.agentscope.io, Kimi); reasoning_content stays in history (H080).
    Row(_KIMI, "", {"reasoning": "replay", "effort": ""}),
    Row(_KIMI, "kimi", {"sampling": False}),
    Row(_KIMI, r"kimi-k2\.[56]", {"switch": True}),
    Row(
        _KIMI,
        "kimi-k[3-9]",
        {"effort": "reasoning_effort", "efforts": ("low", "high", "max")},
    ),
    # docs.agno.com, Xiaomi MiMo: JSON mode but no json_schema; H080 for its thinking.
    Row(("api.xiaomimimo.com", ".xiaomimimo.com"), "", {"reasoning": "replay", "schemas": False}),
    # Refuses what it does not know with 422: reasoning_content (charmbracelet/crush#1590), stream_options
    # (dnakov/anon-kode#53), max_completion_tokens (editor-code-assistant/eca#231); `user` too. Effort is high or none,
    # and of few models (docs.mistral.ai, reasoning). An assistant message at the end must have `prefix`
    # ("Expected last role User or Tool (or Assistant with prefix True)", 0xPlaygrounds/rig#1130).
    Row(
        ("api.mistral.ai", "codestral.mistral.ai"),
        "",
        {"effort": "", "usage": False, "bridge": True, "prefix": True, "nine": True},
    ),
    # console.groq.com/docs/api-reference: up to 4 stop sequences. Efforts low to high for gpt-oss, "none or default"
    # for qwen, none for others: earendil-works/pi#1745.
    Row(("api.groq.com",), "", {"effort": "", "stops": 4}),
    Row(("api.groq.com",), "gpt-oss", {"effort": "reasoning_effort"}),
    # docs.x.ai, reasoning: such models refuse `stop`.
    Row(XAI, "", {"effort": "", "stops": 0}),
    Row(XAI, r"non-reasoning|grok-[23](?!-mini)", {"stops": None}),
    *(Row(XAI, models, {"effort": "reasoning_effort", "efforts": taken}) for models, taken in XAI_EFFORTS),
    # "Invalid JSON payload received. Unknown name …": router-for-me/CLIProxyAPI#97, openswarm-ai/openswarm#24. Only
    # keywords without which a schema allows more, never one that others refer to.
    Row(
        ("generativelanguage.googleapis.com", "aiplatform.googleapis.com", ".aiplatform.googleapis.com"),
        "",
        {
            "forbidden": frozenset(_GOOGLE),
        },
    ),
)


def ways_of(target: Target, model: str) -> Ways:
    """The ways of the upstream behind `target` for `model`: the table's, and over it what the operator said."""
    return _ways_of(target.ways, model)


@lru_cache(maxsize=256)  # a look at each row for each request would cost more than the rest of writing it
def _ways_of(target: Target, model: str) -> Ways:
    ways = Ways(**found(_TABLE, target.host, model))
    if target.reasoning:
        ways = msgspec.structs.replace(ways, reasoning=target.reasoning)
    if target.system_messages:
        ways = msgspec.structs.replace(ways, system_messages=target.system_messages)
    if target.effort == "drop":
        ways = msgspec.structs.replace(ways, effort="")
    if target.effort == "send" and not ways.effort:
        ways = msgspec.structs.replace(ways, effort="reasoning_effort")
    return ways
