"""PyPI google-genai: content, tools, embeddings; streaming and not."""

from cases import BASE, CITY, REFUSED, TOOL, WORDS, pattern, run
from google import genai
from google.genai import errors, types

client = genai.Client(api_key="test-key", http_options=types.HttpOptions(
    base_url=BASE, api_version="v1beta"))
MODEL = "gemini-2.5-flash"
WEATHER = types.FunctionDeclaration(name="weather", parameters_json_schema=CITY)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[WEATHER])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True))


def content():
    return client.models.generate_content(model=MODEL, contents=WORDS)


def stream():
    return list(client.models.generate_content_stream(model=MODEL, contents=WORDS))


def tools():
    call = client.models.generate_content(model=MODEL, contents=TOOL, config=TOOLS)
    answer = types.Part.from_function_response(name="weather", response={"degrees": 21})
    turns = [types.UserContent(TOOL), call.candidates[0].content, types.UserContent(answer)]
    return [call, client.models.generate_content(model=MODEL, contents=turns, config=TOOLS)]


def tools_stream():
    return list(client.models.generate_content_stream(model=MODEL, contents=TOOL, config=TOOLS))


def image():
    data = types.Part.from_bytes(data=pattern(150_000), mime_type="image/png")
    return client.models.generate_content(model=MODEL, contents=[data, WORDS])


async def stream_async():
    events = await client.aio.models.generate_content_stream(model=MODEL, contents=WORDS)
    return [event async for event in events]


def refused():
    try:
        return client.models.generate_content(model=MODEL, contents=REFUSED)
    except errors.ClientError as error:
        return [error.code, error.message]


run(content, stream, tools, tools_stream, image, stream_async, refused)
