"""A stand-in for a model when there is none: it follows rules, is deterministic, and says what it is."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
    remove_content_after_stop_sequences,
)
from smolagents.monitoring import TokenUsage

from daedalus.offline_plan import Call, Earlier, OfflineCannotPlan, Plan, plan

MODEL_ID = "offline-rules (not an LLM)"
#: Tokens are counted as this many characters each, so that the daemon's accounting has something to count.
CHARS_PER_TOKEN = 4
_NEW_TASK = "New task:\n"
_LOGS = re.compile(r"Execution logs:\n(?P<logs>.*?)\n?Last output from code snippet:\n", re.DOTALL)


class OfflineRuleModel(Model):
    """Plans uses of the text tools by rule, one call per step, and reads what each call gave from the conversation.

    It keeps no state: the conversation is all it looks at. A prompt that no rule fits raises
    `OfflineCannotPlan`, because an invented answer would look like a model's.
    """

    def __init__(self) -> None:
        super().__init__(model_id=MODEL_ID)

    def generate(
        self,
        messages: list[ChatMessage],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,
        **kwargs: Any,
    ) -> ChatMessage:
        """Take the next step of the plan, as code or, when tools are offered, as a tool call."""
        task, observations = _conversation(messages)
        the_plan = plan(task)
        results = [_result(the_plan, index, text) for index, text in enumerate(observations[: len(the_plan.calls)])]
        content, tool_calls = None, None
        if tools_to_call_from is None:
            content = remove_content_after_stop_sequences(_as_code(the_plan, results), stop_sequences)
            written = content or ""
        else:
            tool_calls = [_as_tool_call(the_plan, results)]
            written = json.dumps(tool_calls[0].function.arguments, default=str)
        read = sum(len(_text(message)) for message in messages)
        usage = TokenUsage(input_tokens=tokens(read), output_tokens=tokens(len(written)))
        return ChatMessage(role=MessageRole.ASSISTANT, content=content, tool_calls=tool_calls, token_usage=usage)


def tokens(characters: int) -> int:
    """How many tokens a text of this length counts as."""
    return max(1, characters // CHARS_PER_TOKEN)


def _conversation(messages: list[ChatMessage]) -> tuple[str, list[str]]:
    """The newest task, and what was observed since."""
    task = ""
    observations: list[str] = []
    for message in messages:
        text = _text(message)
        if message.role == MessageRole.USER and text.startswith(_NEW_TASK):
            task, observations = text.removeprefix(_NEW_TASK), []
        elif message.role == MessageRole.TOOL_RESPONSE:
            observations.append(text)
    return task, observations


def _result(the_plan: Plan, index: int, observation: str) -> Any:
    """Read back what a call gave."""
    tool = the_plan.calls[index].tool
    head, _, body = observation.partition("\n")
    if head != "Observation:":
        raise OfflineCannotPlan(f"The plan's step {tool} failed, and rules cannot plan around it: {observation}")
    logs = _LOGS.search(body)
    shown = logs.group("logs") if logs else body
    if tool == "read_text":
        return shown
    try:
        return ast.literal_eval(shown.strip())
    except (ValueError, SyntaxError) as error:
        raise OfflineCannotPlan(f"The result of {tool} cannot be read back: {shown[:200]!r}") from error


def _as_code(the_plan: Plan, results: list[Any]) -> str:
    step = len(results)
    if step == len(the_plan.calls):
        thought, code = "I have what I need.", f"final_answer({the_plan.answer(results)!r})"
    else:
        call = the_plan.calls[step]
        arguments = ", ".join(f"{name}={_written(value)}" for name, value in call.arguments.items())
        thought = f"Step {step + 1} of {len(the_plan.calls) + 1}: I use {call.tool}."
        code = f"result_{step} = {call.tool}({arguments})\nprint(result_{step})"
    return f"Thought: {thought}\n<code>\n{code}\n</code>"


def _as_tool_call(the_plan: Plan, results: list[Any]) -> ChatMessageToolCall:
    step = len(results)
    if step == len(the_plan.calls):
        call = Call("final_answer", {"answer": the_plan.answer(results)})
    else:
        call = the_plan.calls[step]
    arguments = {
        name: results[value.index] if isinstance(value, Earlier) else value for name, value in call.arguments.items()
    }
    function = ChatMessageToolCallFunction(name=call.tool, arguments=arguments)
    return ChatMessageToolCall(id=f"call_{step}", type="function", function=function)


def _written(value: Any) -> str:
    return f"result_{value.index}" if isinstance(value, Earlier) else repr(value)


def _text(message: ChatMessage) -> str:
    content = message.content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""
