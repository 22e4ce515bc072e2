"""The built-in stages: a name in TOML → where its class is. Each is a plugin like any other, imported when used."""

from collections.abc import Mapping

__all__ = ["BUILT_IN"]

BUILT_IN: Mapping[str, str] = {
    "quota-probe": "trioproxy.stages.quota_probe:QuotaProbe",
    "billing-nonce": "trioproxy.stages.billing_nonce:BillingNonce",
    "replay-thinking": "trioproxy.stages.replay_thinking:ReplayThinking",
    "cache-prompt": "trioproxy.stages.cache_prompt:CachePrompt",
    "replay-responses": "trioproxy.stages.replay_responses:ReplayResponses",
    "deframe": "trioproxy.stages.deframe:Deframe",
    "parse": "trioproxy.stages.parse:Parse",
    "signature-filter": "trioproxy.stages.signature_filter:SignatureFilter",
    "remember-thinking": "trioproxy.stages.replay_thinking:RememberThinking",
    "tool-text": "trioproxy.stages.tool_text:ToolText",
    "keepalive": "trioproxy.stages.keepalive:Keepalive",
    "translate": "trioproxy.stages.translate:Translate",
    "remember-responses": "trioproxy.stages.replay_responses:RememberResponses",
    "reframe": "trioproxy.stages.reframe:Reframe",
}
