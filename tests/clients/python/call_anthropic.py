"""PyPI anthropic: messages, tools, images; streaming and not."""

import base64

import anthropic
from cases import BASE, CITY, REFUSED, TOOL, WORDS, pattern, run

client = anthropic.Anthropic(base_url=BASE, api_key="sk-ant-test", max_retries=0)
TOOLS = [{"name": "weather", "description": "Tells the weather.", "input_schema": CITY}]


def ask(content, **more):
    messages = [{"role": "user", "content": content}]
    return client.messages.create(
        model="claude-sonnet-4-5", max_tokens=500, system="Be brief.", messages=messages, **more)


def messages():
    return ask(WORDS)


def stream():
    return list(ask(WORDS, stream=True))


def stream_gathered():
    with client.messages.stream(model="claude-sonnet-4-5", max_tokens=500,
                                messages=[{"role": "user", "content": WORDS}]) as events:
        return ["".join(events.text_stream), events.get_final_message()]


def tools():
    call = ask(TOOL, tools=TOOLS)
    use = next(block for block in call.content if block.type == "tool_use")
    answered = client.messages.create(model="claude-sonnet-4-5", max_tokens=500, tools=TOOLS, messages=[
        {"role": "user", "content": TOOL},
        {"role": "assistant", "content": [block.model_dump() for block in call.content]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": use.id, "content": "21 degrees"}]}])
    return [call, answered]


def tools_stream():
    return list(ask(TOOL, tools=TOOLS, stream=True))


def image():
    data = base64.b64encode(pattern(150_000)).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    return ask([{"type": "image", "source": source}, {"type": "text", "text": WORDS}])


async def stream_async():
    async with anthropic.AsyncAnthropic(base_url=BASE, api_key="sk-ant-test") as other:
        events = await other.messages.create(
            model="claude-sonnet-4-5", max_tokens=500, stream=True,
            messages=[{"role": "user", "content": WORDS}])
        return [event async for event in events]


def refused():
    try:
        return ask(REFUSED)
    except anthropic.BadRequestError as error:
        return [error.status_code, error.body]


run(messages, stream, stream_gathered, tools, tools_stream, image, stream_async, refused)
