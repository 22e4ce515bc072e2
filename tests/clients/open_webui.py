"""Open WebUI as a client: starts an installed one in a throw-away folder, and speaks its API the way its page does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeVar

# What tests/clients/install.sh makes.
INSTALLED = Path(__file__).parent / ".installed" / "open-webui" / "bin" / "open-webui"
# It imports for ten seconds and then creates its tables; twice that on a busy machine, and room on top.
START_SECONDS = 120.0
STOP_SECONDS = 15.0
# A request of ours that it answers at once, and an answer of its model that the test waits for.
REQUEST_SECONDS = 30.0
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.1

Wire = dict[str, Any]  # a JSON object of Open WebUI's
T = TypeVar("T")
NOTHING: Mapping[str, object] = MappingProxyType({})


class Refused(Exception):
    """Open WebUI answered a request of ours with an error."""


def installed() -> Path | None:
    """The `open-webui` to start, if there is one."""
    named = os.environ.get("TRIOPROXY_OPEN_WEBUI", "")
    path = Path(named) if named else INSTALLED
    return path if path.is_file() else None


@dataclass(frozen=True)
class Message:
    """A message of the assistant as Open WebUI keeps it; its page shows each item of `output` in a way of its own."""

    saved: Wire

    @property
    def done(self) -> bool:
        return bool(self.saved.get("done"))

    @property
    def error(self) -> object:
        """What the page shows in a box instead of an answer."""
        return (self.saved.get("error") or {}).get("content")

    @property
    def content(self) -> str:
        """What it copies, exports and searches."""
        return str(self.saved["content"])

    @property
    def kinds(self) -> list[str]:
        return [item["type"] for item in self._output]

    @property
    def thoughts(self) -> list[str]:
        """Folded, as "Thought for 3 seconds"."""
        return [parts_text(item["content"]) for item in self._output if item["type"] == "reasoning"]

    @property
    def texts(self) -> list[str]:
        return [parts_text(item["content"]) for item in self._output if item["type"] == "message"]

    @property
    def calls(self) -> list[tuple[str, Any]]:
        """Name and arguments of each tool it ran for the model."""
        calls = [item for item in self._output if item["type"] == "function_call"]
        return [(item["name"], json.loads(item["arguments"])) for item in calls]

    @property
    def results(self) -> list[str]:
        return [parts_text(item["output"]) for item in self._output if item["type"] == "function_call_output"]

    @property
    def follow_ups(self) -> list[str]:
        """What it proposes to ask next."""
        return list(self.saved.get("followUps", ()))

    @property
    def _output(self) -> list[Wire]:
        return self.saved.get("output") or []


def parts_text(parts: list[Wire]) -> str:
    return "".join(part["text"] for part in parts)


@dataclass
class Chat:
    """A conversation that is open in the page."""

    webui: OpenWebUI
    model: str
    tools: Sequence[str]
    params: Mapping[str, object]
    id: str = field(default="", init=False)
    last: str | None = field(default=None, init=False)  # the message that the next one follows

    def ask(self, text: str, pictures: Sequence[str] = ()) -> Message:
        """Send `text` and wait until its answer is complete, tool calls and all. `pictures` are `data:` URLs."""
        return self.finished(self.send(text, pictures))

    def send(self, text: str, pictures: Sequence[str] = ()) -> str:
        """Send `text`; the id of the message that will be its answer."""
        asked, answer = str(uuid.uuid4()), str(uuid.uuid4())
        first = self.last is None
        self._post(
            answer,
            parent_id=self.last,
            user_message={
                "id": asked,
                "parentId": self.last,
                "childrenIds": [answer],
                "role": "user",
                "content": text,
                "files": [{"type": "image", "url": url} for url in pictures],
                "timestamp": int(time.time()),
                "models": [self.model],
            },
            background_tasks={"follow_up_generation": True}
            | ({"title_generation": True, "tags_generation": True} if first else {}),
        )
        self.last = answer
        return answer

    def stop(self) -> None:
        """The stop button."""
        self.webui.call("POST", f"/api/tasks/chat/{self.id}/stop")

    def message(self, id: str) -> Message:
        return Message(self.saved()["chat"]["history"]["messages"][id])

    def finished(self, id: str) -> Message:
        return until(lambda: message if (message := self.message(id)).done else None)

    def saved(self) -> Wire:
        """The chat as the page loads it."""
        return self.webui.call("GET", f"/api/v1/chats/{self.id}")

    def _post(self, answer: str, **fields: Any) -> None:
        body = {
            "stream": True,
            "model": self.model,
            # Tools in the provider's own way, which has been the default since 0.12.
            "params": {"function_calling": "native", **self.params},
            "tool_ids": list(self.tools),
            "tool_servers": [],
            "features": {"image_generation": False, "code_interpreter": False, "web_search": False, "memory": True},
            "session_id": self.webui.session,
            "id": answer,
            "message_ids": [{"model_id": self.model, "message_id": answer, "modelIdx": 0}],
            **({"chat_id": self.id} if self.id else {}),
            **fields,
        }
        self.id = self.webui.call("POST", "/api/chat/completions", body)["chat_id"]


class OpenWebUI:
    """Runs from `__enter__`, which waits until it answers, to `__exit__`."""

    def __init__(self, executable: Path, folder: Path) -> None:
        self._executable = executable
        self._folder = folder
        self._token = ""
        self.port = free_port()
        self.session = uuid.uuid4().hex  # names the page that shall see the answers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        # It keeps everything in DATA_DIR, its log included.
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._executable, "serve", "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self._folder,
                env=environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(self._answers, START_SECONDS)
            self._token = self.call("POST", "/api/v1/auths/signin", {"email": "", "password": ""})["token"]
        except BaseException as error:
            self._end()
            error.add_note(f"Open WebUI said:\n{self.report}")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def report(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def connect(self, url: str, key: str = "any-key") -> None:
        """Settings → Connections → OpenAI: this connection and no other, checked as its button does.

        Raises `Refused` if that check fails.
        """
        self.call("POST", "/openai/verify", {"url": url, "key": key, "config": {}})
        connection = {"OPENAI_API_BASE_URLS": [url], "OPENAI_API_KEYS": [key], "OPENAI_API_CONFIGS": {}}
        self.call("POST", "/openai/config/update", {"ENABLE_OPENAI_API": True, **connection})

    def chat(self, model: str, *, tools: Sequence[str] = (), params: Mapping[str, object] = NOTHING) -> Chat:
        """A new chat. `params` are those of its chat controls."""
        return Chat(self, model, tools, params)

    def models(self) -> list[str]:
        """The ids in the model selector. A chat with a model that it does not list is refused."""
        return [model["id"] for model in self.call("GET", "/api/models?refresh=true")["data"]]

    def add_tool(self, id: str, source: str) -> None:
        """Workspace → Tools → +: Python `source` with a class `Tools`, whose methods models may then call."""
        meta = {"description": id, "manifest": {}}
        self.call("POST", "/api/v1/tools/create", {"id": id, "name": id, "content": source, "meta": meta})

    def call(self, method: str, path: str, body: object = None) -> Wire:
        """One request of its page. Raises `Refused` with what the page would show."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": f"Bearer {self._token}"},
        )
        # Without a proxy, whatever this machine's environment says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=REQUEST_SECONDS) as response:
                answer: Wire = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                said = error.read().decode(errors="replace")
            raise Refused(f"{method} {path}: {error.code} {said}") from None

    def _answers(self) -> bool:
        code = self._process.poll()
        assert code is None, f"Open WebUI ended by itself with {code}"
        try:
            return bool(self.call("GET", "/health")["status"])
        except (OSError, Refused):
            return False

    def _end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            # It waits for its clients and its background tasks; nothing of either is needed.
            self._process.kill()
            self._process.wait()


def environment(folder: Path) -> Mapping[str, str]:
    """Nothing of this machine's environment, and no way off it."""
    return {
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
        "DATA_DIR": str(folder),
        "WEBUI_SECRET_KEY": "throw-away",
        # No login form: the empty e-mail and password are the administrator's.
        "WEBUI_AUTH": "False",
        # Installed without torch and what builds on it, so without speech and embeddings of its own.
        "USE_SLIM_DOCKER": "true",
        "RAG_EMBEDDING_ENGINE": "openai",
        "AUDIO_STT_ENGINE": "openai",
        "ENABLE_OLLAMA_API": "False",
        "OPENAI_API_BASE_URLS": "",
        "OFFLINE_MODE": "True",
        # A closed port: whatever is not meant for loopback fails instead of leaving the machine.
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def free_port() -> int:
    """A port that nobody has at the moment; Open WebUI cannot tell which one it got when asked for any."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until(look: Callable[[], T | None], seconds: float = ANSWER_SECONDS) -> T:
    """What `look` finds at last: the page is told by a WebSocket, we ask again and again."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(POLL_SECONDS)
    return found
