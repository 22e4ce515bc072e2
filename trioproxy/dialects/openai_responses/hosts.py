"""The ways of Responses upstreams, by host and model: what each takes, refuses, or wants to have said otherwise.

Every row of the table says where its knowledge is from. A host nobody wrote down gets the ways that most take, which
are those of servers that make a chat template's prompt of the input (vLLM, llama.cpp, Ollama, LM Studio, mistral.rs).
"""

from functools import lru_cache
from typing import Literal

import msgspec

from trioproxy.dialects.openai.hosts import (
    AZURE,
    FROM_5_6,
    MISTRAL,
    OPENAI,
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

    instructions: bool = False
    """Whether there must be `instructions`, even without a system prompt."""
    system_messages: Literal["keep", "hoist", "user"] = "user"
    """See `Target.system_messages`: chat templates refuse a system message that is not the first (H051)."""
    system_role: Literal["developer", "system"] = "system"
    """Who says a system message in mid-conversation (H150b)."""
    alternate: bool = True
    """Whether messages of one user in a row become one: chat templates want user and assistant by turns (H055)."""
    bridge: bool = False
    """Whether an assistant must speak between a tool's result and the user."""
    complete: bool = True
    """Whether what the assistant said must look like an item of an answer, with an id and a status. Many check the
    input against the types of OpenAI's SDK, which have them; OpenAI knows ids that are not its own from its own."""
    ordered: bool = False
    """Whether the assistant's words, thoughts and calls may stand in the order in which it had them; else its calls
    come last."""
    rich: bool = False
    """Whether a tool's result can have pictures and files (H062)."""
    id_length: int = 64
    """How long the id of a call can be (H064)."""
    nine: bool = False
    """Whether it must be nine letters and digits."""
    reasoning: Literal["drop", "replay"] = "drop"
    """Whether thinking of earlier turns goes back as text."""
    encrypted: Literal["always", "asked", "never"] = "asked"
    """When reasoning is asked for encrypted, and goes back so: if the client asks for thinking, or whether or not."""
    effort: bool = True
    """Whether there is an effort."""
    efforts: tuple[str, ...] = ("low", "medium", "high")
    """The values it takes."""
    summaries: bool = False
    """Whether a summary of the reasoning can be asked for."""
    limit: bool = True
    """Whether `max_output_tokens` is taken."""
    sampling: bool = True
    """Whether `temperature` and `top_p` are taken (H085, H145)."""
    user: Literal["safety_identifier", "user", ""] = ""
    """The field for who the user is; only who is known to want it gets it."""
    tier: bool = False
    """Whether `service_tier` is known."""
    schemas: bool = True
    """Whether answers can be held to a JSON schema; else to JSON only (H140)."""
    search: bool = False
    """Whether there is a `web_search` tool (H067)."""
    excluded: str = ""
    """The name of its filter for domains to leave out; "" for none."""
    streams: bool = False
    """Whether it answers with a stream only."""


_FOUNDRY = (".services.ai.azure.com",)
_CODEX = ("chatgpt.com",)
_COPILOT = ("api.githubcopilot.com", ".githubcopilot.com")
_BEDROCK = (".api.aws",)  # bedrock-mantle.REGION.api.aws
# Whoever runs OpenAI's own models.
_NATIVE = (*OPENAI, *_FOUNDRY, *_CODEX, *_COPILOT, *_BEDROCK)
# Names that no other models have: whoever else has one passes it on to OpenAI.
_OWN = r"^(?:ft:|openai[/.])?(?:o\d|codex|gpt-[5-9])"

# The API's reference: roles, parts and lists of parts as results (a 400 names those it takes: the recordings). The
# encrypted content of reasoning is bound to its item's id (openclaw/openclaw#71448), and ids of messages to a
# connection or a store (NousResearch/hermes-agent#62242): none is made up here.
_PLAIN = {
    "system_messages": "keep",
    "system_role": "developer",
    "alternate": False,
    "complete": False,
    "ordered": True,
    "rich": True,
    "encrypted": "never",
    "effort": False,
}
# "Encrypted content is not supported with this model": all that do not reason (OpenHands/software-agent-sdk#1208,
# pydantic/pydantic-ai#2867). A summary can be asked of all that do ("auto": vercel/ai#5982).
_REASONING = {"encrypted": "always", "effort": True, "summaries": True, "sampling": False}

_TABLE = (
    # The self-hosted servers, from which the defaults are: llama.cpp refuses input_file, and anything but text in a
    # result (tools/server/server-chat.cpp); vLLM takes one text of an assistant's message, and that only beside an id
    # and a status (vllm/entrypoints/openai/responses/utils.py, openai/codex#12669, langchain-ai/langchain#32557).
    # Codex, which works with all of them, always sends `include`.
    Row((), MISTRAL, {"bridge": True, "nine": True}),
    Row(_NATIVE, "", _PLAIN),
    # Gateways hand on what they get, or refuse it as OpenAI does: RooCodeInc/Roo-Code#6965, decolua/9router#536.
    Row((), _OWN, _PLAIN | _REASONING),
    Row((), rf"{_OWN}.*-chat", _PLAIN | {"summaries": False, "sampling": True}),
    # A `safety_identifier` has at most 64 characters and supersedes `user`; Azure's reference still has `user`.
    Row(OPENAI, "", {"user": "safety_identifier", "tier": True}),
    Row((*AZURE, *_FOUNDRY), "", {"user": "user"}),
    # developers.openai.com, web search; learn.microsoft.com, Responses API; Codex offers it to the ChatGPT backend.
    Row((*OPENAI, *_FOUNDRY, *_CODEX), "", {"search": True}),
    # Their open models tell what they think as it is: the recordings of Bedrock.
    Row(_NATIVE, "gpt-oss", {"effort": True, "sampling": False}),
    # "Supported values are: 'none', 'low', 'medium', and 'high'": anomalyco/opencode#4451. Models before 5.1 "do not
    # support none": learn.microsoft.com, ReasoningEffort. The minimal of gpt-5 is not for all of its kind.
    Row((), r"gpt-5\.1(?!-codex)", {"efforts": ("none", "low", "medium", "high")}),
    Row((), XHIGH, {"efforts": ("low", "medium", "high", "xhigh")}),
    Row((), r"gpt-(?:5\.[2-9]|[6-9])(?!.*(?:codex|pro))", {"efforts": ("none", "low", "medium", "high", "xhigh")}),
    Row((), FROM_5_6, {"efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    # "The gpt-5-pro model defaults to (and only supports) high": the same page.
    Row((), r"gpt-5-pro", {"efforts": ("high",)}),
    # "Unsupported parameter: max_output_tokens": kortix-ai/suna#5124; and what else RayBytes/ChatMock#51 found:
    # "Instructions are required" (PwnKit-Labs/pwnkit#330; empty ones will do: icebear0828/codex-proxy#112), "Stream
    # must be set to true", no temperature or metadata.
    Row(_CODEX, "", {"instructions": True, "limit": False, "sampling": False, "streams": True}),
    # What Copilot has encrypted it takes back only over the same connection, with the same short-lived token: a
    # conversation that has it is refused from then on (openclaw/openclaw#95493).
    Row(_COPILOT, "", {"encrypted": "never"}),
    # openrouter.ai/docs: system messages anywhere, a string as a result; "expected one of
    # xhigh|high|medium|low|minimal|none": earendil-works/pi#4801. Summaries, include and search: its reference of
    # POST /v1/responses, and the recordings.
    Row(
        ("openrouter.ai",),
        "",
        {
            "system_messages": "keep",
            "alternate": False,
            "complete": False,
            "rich": False,
            "encrypted": "asked",
            "efforts": ("none", "minimal", "low", "medium", "high", "xhigh"),
            "summaries": True,
            "user": "user",
            "search": True,
        },
    ),
    # docs.x.ai: reasoning that comes and goes encrypted; web_search with `excluded_domains`; "only a single
    # system/developer message should be used, and it should always be the first message".
    Row(
        XAI,
        "",
        {
            "complete": False,
            "effort": False,
            "summaries": True,
            "search": True,
            "excluded": "excluded_domains",
        },
    ),
    Row(XAI, r"grok-(?:3-mini|[4-9])(?!.*non-reasoning)", {"encrypted": "always"}),
    *(Row(XAI, models, {"effort": True, "efforts": taken}) for models, taken in XAI_EFFORTS),
    # "The `reasoning_text` in the thinking mode must be passed back to the API": rikkahub/rikkahub#1629. A message
    # between two calls parts them from their results: the recordings. Nothing is encrypted: lidge-jun/opencodex#2229.
    # No json_schema: llm-exe/llm-exe#662.
    Row(
        ("api.deepseek.com",),
        "",
        {
            "reasoning": "replay",
            "encrypted": "never",
            "efforts": ("minimal", "low", "medium", "high", "xhigh", "max"),
            "schemas": False,
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
    if target.effort:
        ways = msgspec.structs.replace(ways, effort=target.effort == "send")
    return ways
