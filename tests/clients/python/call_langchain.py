"""PyPI langchain-openai: a chat model asked, streamed, with tools, and embeddings."""

import os

from cases import BASE, TOOL, WORDS, run

os.environ["LANGSMITH_TRACING"] = "false"
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

model = ChatOpenAI(model="gpt-4o", base_url=f"{BASE}/v1", api_key="sk-test", max_retries=0)


@tool
def weather(city: str, days: int = 1) -> str:
    """Tells the weather of a city."""
    return f"21 degrees in {city} for {days} days"


def told(message):
    return [message.content, message.usage_metadata, getattr(message, "tool_calls", None)]


def invoke():
    return told(model.invoke(WORDS))


def stream():
    return [told(chunk) for chunk in model.stream(WORDS)]


async def stream_async():
    return [told(chunk) async for chunk in model.astream(WORDS)]


def tools():
    bound = model.bind_tools([weather])
    turns = [HumanMessage(TOOL)]
    call = bound.invoke(turns)
    for use in call.tool_calls:
        turns += [call, ToolMessage(weather.invoke(use["args"]), tool_call_id=use["id"])]
    return [told(call), told(bound.invoke(turns))]


def batch():
    return [told(answer) for answer in model.batch([WORDS] * 4)]


def embeddings():
    # Counting tokens would fetch a vocabulary from elsewhere.
    made = OpenAIEmbeddings(model="text-embedding-3-small", base_url=f"{BASE}/v1",
                            api_key="sk-test", check_embedding_ctx_length=False)
    return made.embed_documents(["one", "two"])


run(invoke, stream, stream_async, tools, batch, embeddings)
