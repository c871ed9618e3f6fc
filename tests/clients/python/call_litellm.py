"""PyPI litellm, the SDK: the same call to three providers, tools; streaming and not."""

import os

from cases import BASE, CITY, TOOL, WORDS, plain, run

os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_TELEMETRY="False",
                  OPENAI_API_KEY="sk-test", ANTHROPIC_API_KEY="sk-ant-test", GEMINI_API_KEY="test")
import litellm

TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
ASKED = [{"role": "user", "content": WORDS}]


def openai():
    return litellm.completion("openai/gpt-4o", ASKED, api_base=f"{BASE}/v1")


def openai_stream():
    return list(litellm.completion("openai/gpt-4o", ASKED, api_base=f"{BASE}/v1", stream=True))


def tools():
    asked = [{"role": "user", "content": TOOL}]
    call = litellm.completion("openai/gpt-4o", asked, api_base=f"{BASE}/v1", tools=TOOLS)
    answer = call.choices[0].message
    result = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "21 degrees"}
    turns = [*asked, answer.model_dump(), result]
    return [plain(answer), litellm.completion("openai/gpt-4o", turns, api_base=f"{BASE}/v1", tools=TOOLS)]


def anthropic():
    return litellm.completion("anthropic/claude-sonnet-4-5", ASKED, api_base=BASE)


def anthropic_stream():
    return list(litellm.completion("anthropic/claude-sonnet-4-5", ASKED, api_base=BASE, stream=True))


async def openai_async():
    answer = await litellm.acompletion("openai/gpt-4o", ASKED, api_base=f"{BASE}/v1", stream=True)
    return [event async for event in answer]


async def anthropic_async():
    return await litellm.acompletion("anthropic/claude-sonnet-4-5", ASKED, api_base=BASE)


run(openai, openai_stream, tools, anthropic, anthropic_stream, openai_async, anthropic_async)
