"""PyPI openai: chat, tools, responses, embeddings, speech, transcription, files; streaming and not."""

import openai
from cases import BASE, CITY, REFUSED, TOOL, WORDS, digest, pattern, run

client = openai.OpenAI(base_url=f"{BASE}/v1", api_key="sk-test", max_retries=0)
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]


def ask(question, **more):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
    return client.chat.completions.create(model="gpt-4o", messages=messages, **more)


def chat():
    return ask(WORDS)


def chat_stream():
    return list(ask(WORDS, stream=True, stream_options={"include_usage": True}))


def tools():
    call = ask(TOOL, tools=TOOLS).choices[0].message
    answered = client.chat.completions.create(model="gpt-4o", tools=TOOLS, messages=[
        {"role": "user", "content": TOOL}, call,
        {"role": "tool", "tool_call_id": call.tool_calls[0].id, "content": '{"degrees":21}'}])
    return [call, answered]


def tools_stream():
    return list(ask(TOOL, tools=TOOLS, stream=True))


def responses():
    return client.responses.create(model="gpt-4o", input=WORDS)


def responses_stream():
    return list(client.responses.create(model="gpt-4o", input=WORDS, stream=True))


async def chat_async():
    async with openai.AsyncOpenAI(base_url=f"{BASE}/v1", api_key="sk-test") as other:
        stream = await other.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": WORDS}], stream=True)
        return [event async for event in stream]


def embeddings():
    return client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])


def speech():
    made = client.audio.speech.create(model="tts-1", voice="alloy", input="Say this.")
    return digest(made.read())


def transcription():
    sound = ("sound.wav", pattern(200_000), "audio/wav")
    return client.audio.transcriptions.create(model="whisper-1", file=sound)


def upload():
    made = client.files.create(file=("données.jsonl", pattern(70_000)), purpose="user_data")
    return [made, digest(client.files.content(made.id).read())]


def refused():
    try:
        return ask(REFUSED)
    except openai.BadRequestError as error:
        return [error.status_code, error.body]


run(chat, chat_stream, tools, tools_stream, responses, responses_stream, chat_async, embeddings,
    speech, transcription, upload, refused)
