"""Models that follow a script: the first word of the prompt picks it."""

from __future__ import annotations

import json
from typing import Any

from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model
from smolagents.monitoring import TokenUsage

IN, OUT = 100, 7


def code(text: str) -> str:
    return f"Thought: as told.\n<code>\n{text}\n</code>"


def call(tool: str, id_: str = "c1", **arguments: Any) -> ChatMessageToolCall:
    return ChatMessageToolCall(
        id=id_, type="function", function=ChatMessageToolCallFunction(name=tool, arguments=arguments)
    )


MISCHIEF = "import mischief\n"
CODE: dict[str, list[str]] = {
    "steps": [code("x = 40\nprint(x)"), code("1/0"), code("final_answer(x + 2)")],
    "secret": [code("secret = 'canary'\nfinal_answer('kept')")],
    "reveal": [code("final_answer(secret)"), code("final_answer('nothing found')")],
    "arguments": [code("final_answer(place)")],
    "noise": [code(MISCHIEF + "final_answer(mischief.noise())")],
    "sleep": [code(MISCHIEF + "mischief.sleep(60)")],
    "spin": [code("x = 0\nwhile x > -1:\n    x += 1")],
    "socket": [code(MISCHIEF + "mischief.blocked_socket()")],
    "queue": [code(MISCHIEF + "mischief.blocked_queue()")],
    "swallow": [code(MISCHIEF + "mischief.swallow_once()")],
    "crash": [code(MISCHIEF + "mischief.crash(3)")],
    "forever": [code("print(1)")],
    "odd": [code(MISCHIEF + "final_answer(mischief.odd(kind))")],
    "plain": [
        code("final_answer({'a': [1, 2.5, None, True, 'ä\\u2028'], 'b': -(2**63), 'c': 2**64 - 1, 't': (1, 2)})")
    ],
    "big": [code("final_answer('x' * size)")],
    "tools": [code("final_answer([count_words(path) for i in range(3)])")],
    "long": [code("print('y' * 9000)\nfinal_answer('said')")],
    "delegate": [
        code(
            "made = submit_coordination_task(payload={'prompt': 'part'}, priority=3, detach=False)\n"
            "part = made\n"
            "while part['status'] != 'completed':\n"
            "    part = get_coordination_task(made['task_id'])\n"
            "final_answer({'result': part['result']})"
        )
    ],
    "family": [
        code(
            "import time\n"
            "made = submit_coordination_task(payload={'prompt': 'steps'})\n"
            "part = made\n"
            "while part['status'] in ('pending', 'in_progress'):\n"
            "    time.sleep(0.05)\n"
            "    part = get_coordination_task(made['task_id'])\n"
            "final_answer({'part': made['task_id'], 'result': part['result']})"
        )
    ],
    "alone": [code("submit_coordination_task(payload={'prompt': 'part'})"), code("final_answer('alone')")],
    "unsendable": [
        code("submit_coordination_task(payload={'prompt': 'x' * size})"),
        code("submit_coordination_task(payload={'x': float('nan')})"),
        code("final_answer('sent nothing')"),
    ],
    "threads": [code(MISCHIEF + "final_answer(mischief.threads())")],
}
CALLS: dict[str, list[list[ChatMessageToolCall]]] = {
    "calls": [
        [call("count_words", "c1", path="PATH"), call("extract_dates", "c2", path="PATH")],
        [call("final_answer", answer={"answer": 5})],
    ],
    "pool": [
        [call("coordination_metrics", "c1"), call("isolation_report", "c2")],
        [call("final_answer", answer="seen")],
    ],
    "alone_calls": [
        [call("submit_coordination_task", payload={"prompt": "part"})],
        [call("final_answer", answer="alone")],
    ],
    "slow": [[call("slow", "c1", seconds=60), call("slow", "c2", seconds=60)], [call("final_answer", answer=1)]],
}


class Scripted(Model):
    """Says each line of the script in turn, and its last line for ever."""

    def __init__(self, no_usage: bool = False) -> None:
        super().__init__(model_id="scripted")
        self.no_usage = no_usage

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        task = next(text for text in map(_text, reversed(messages)) if text.startswith("New task:\n"))
        words = task.removeprefix("New task:\n").split()
        done = sum(message.role == MessageRole.ASSISTANT for message in messages)
        usage = None if self.no_usage else TokenUsage(input_tokens=IN, output_tokens=OUT)
        if words[0] in CALLS:
            script = CALLS[words[0]]
            # Calls leave no text of the assistant behind, only their observations.
            done = sum(message.role == MessageRole.TOOL_RESPONSE for message in messages)
            calls = json.loads(
                json.dumps([[c.id, c.function.name, c.function.arguments] for c in script[min(done, len(script) - 1)]])
            )
            filled = [
                call(name, id_, **{k: words[1] if v == "PATH" else v for k, v in args.items()})
                for id_, name, args in calls
            ]
            return ChatMessage(role=MessageRole.ASSISTANT, content=None, tool_calls=filled, token_usage=usage)
        lines = CODE[words[0]]
        return ChatMessage(role=MessageRole.ASSISTANT, content=lines[min(done, len(lines) - 1)], token_usage=usage)


def model(no_usage: bool = False) -> Scripted:
    return Scripted(no_usage)


def tools() -> list[Any]:
    """The usual tools, and one that takes its time."""
    import mischief
    from smolagents import Tool

    from daedalus.text_tools import text_tools

    class Slow(Tool):
        name, description, output_type = "slow", "Waits.", "integer"
        inputs = {"seconds": {"type": "integer", "description": "How long."}}

        def forward(self, seconds: int) -> int:
            mischief.sleep(seconds)
            return seconds

    return [*text_tools(), Slow()]


def _text(message: ChatMessage) -> str:
    content = message.content
    return "".join(part.get("text", "") for part in content) if isinstance(content, list) else content or ""
