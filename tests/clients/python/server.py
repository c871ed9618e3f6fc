#!/usr/bin/env python3
"""A server of what no mock of model APIs has: prints its port, serves until stopped.

Bedrock with SigV4 signatures that it computes again and event streams in frames; a WebSocket echo;
an upload in parts; audio bytes; an event stream; compressed and bodiless answers.
"""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import struct
import urllib.parse
import zlib

from aiohttp import WSMsgType, web
from cases import digest, pattern

SECRET = "test-secret"
TOKEN = "test-bedrock-token"
ANSWER = "It is 21 degrees in Z\u00fcrich, and the sky is clear."


def signature(request, body):
    """The signature that AWS Signature Version 4 asks for, from what arrived and the secret."""
    scheme, _, rest = request.headers["Authorization"].partition(" ")
    if scheme == "Bearer":
        return None
    given = dict(part.strip().split("=", 1) for part in rest.split(","))
    scope = given["Credential"].split("/", 1)[1]
    path, _, query = request.raw_path.partition("?")
    names = given["SignedHeaders"].split(";")
    fields = "".join(f"{name}:{' '.join(request.headers[name].split())}\n" for name in names)
    # Every service but S3 has each part of the path encoded once more.
    path = "/".join(urllib.parse.quote(part, safe="-_.~") for part in path.split("/"))
    payload = hashlib.sha256(body).hexdigest()
    query = "&".join(sorted(query.split("&")))
    canonical = "\n".join([request.method, path, query, fields, ";".join(names), payload])
    text = "\n".join([scheme, request.headers["X-Amz-Date"], scope,
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET}".encode()
    for part in [*scope.split("/"), text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex() == given["Signature"]


def frame(kind, content):
    """A message of `application/vnd.amazon.eventstream`."""
    payload = content if isinstance(content, bytes) else json.dumps(content).encode()
    headers = b""
    for name, value in [(":event-type", kind), (":content-type", "application/json"),
                        (":message-type", "event")]:
        headers += struct.pack(">B", len(name)) + name.encode()
        headers += struct.pack(">BH", 7, len(value)) + value.encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


async def stream(request, content_type, pieces, **fields):
    """Sends pieces one by one; a piece may end anywhere."""
    answer = web.StreamResponse(headers={"Content-Type": content_type, **fields})
    await answer.prepare(request)
    for piece in pieces:
        await answer.write(piece)
        await asyncio.sleep(0.002)
    await answer.write_eof()
    return answer


def converse_events(tool):
    yield frame("messageStart", {"role": "assistant"})
    if tool:
        start = {"toolUse": {"toolUseId": "call_weather_1", "name": "weather"}}
        yield frame("contentBlockStart", {"contentBlockIndex": 0, "start": start})
        for part in ['{"city":', '"Z\u00fcrich"}']:
            yield frame("contentBlockDelta",
                        {"contentBlockIndex": 0, "delta": {"toolUse": {"input": part}}})
    else:
        for word in ANSWER.split(" "):
            yield frame("contentBlockDelta",
                        {"contentBlockIndex": 0, "delta": {"text": word + " "}})
    yield frame("contentBlockStop", {"contentBlockIndex": 0})
    yield frame("messageStop", {"stopReason": "tool_use" if tool else "end_turn"})
    usage = {"inputTokens": 5, "outputTokens": 9, "totalTokens": 14}
    yield frame("metadata", {"usage": usage, "metrics": {"latencyMs": 12}})


async def bedrock(request):
    body = await request.read()
    if signature(request, body) is False:
        return web.json_response(
            {"message": "The request signature we calculated does not match."}, status=403,
            headers={"x-amzn-ErrorType": "InvalidSignatureException"})
    if signature(request, body) is None and request.headers["Authorization"] != f"Bearer {TOKEN}":
        return web.json_response({"message": "no such token"}, status=403)
    asked = json.loads(body)
    tool = "toolConfig" in asked
    match request.match_info["action"]:
        case "converse":
            content = [{"text": ANSWER}]
            if tool:
                use = {"toolUseId": "call_weather_1", "name": "weather", "input": {"city": "Z\u00fcrich"}}
                content = [{"toolUse": use}]
            return web.json_response({
                "output": {"message": {"role": "assistant", "content": content}},
                "stopReason": "tool_use" if tool else "end_turn", "metrics": {"latencyMs": 12},
                "usage": {"inputTokens": 5, "outputTokens": 9, "totalTokens": 14}})
        case "converse-stream":
            # Cut where no frame ends, as a network does.
            whole = b"".join(converse_events(tool))
            pieces = [whole[at:at + 100] for at in range(0, len(whole), 100)]
            return await stream(request, "application/vnd.amazon.eventstream", pieces)
        case "invoke":
            return web.Response(body=json.dumps({"echo": asked}).encode(),
                                content_type="application/json")
        case "invoke-with-response-stream":
            chunks = [frame("chunk", {"bytes": base64.b64encode(word.encode()).decode()})
                      for word in ANSWER.split(" ")]
            return await stream(request, "application/vnd.amazon.eventstream", chunks)
    raise web.HTTPNotFound


async def echo(request):
    """What arrived, told."""
    body = await request.read()
    told = {"method": request.method, "path": request.raw_path, "body": digest(body),
            "type": request.headers.get("Content-Type", "")}
    return web.json_response(told, headers=[("X-Twice", "one"), ("X-Twice", "two")])


async def upload(request):
    """The parts of a form: name, file name, type, and what each held."""
    parts = []
    async for part in await request.multipart():
        kind = part.headers.get("Content-Type", "")
        parts.append([part.name, part.filename, kind, digest(await part.read())])
    return web.json_response(parts)


async def events(request):
    lines = [f"event: tick\nid: {number}\ndata: {{\"n\":{number}}}\n\n".encode()
             for number in range(20)]
    return await stream(request, "text/event-stream", [b": hello\n\n", *lines, b"data: [DONE]\n\n"])


async def audio(request):
    return web.Response(body=pattern(300_000), content_type="audio/wav")


async def zipped(request):
    body = gzip.compress(json.dumps({"text": ANSWER * 50}).encode(), mtime=0)
    return web.Response(body=body, headers={
        "Content-Encoding": "gzip", "Content-Type": "application/json"})


async def nothing(request):
    return web.Response(status=204)


async def elsewhere(request):
    await request.read()
    raise web.HTTPTemporaryRedirect("echo?redirected=1")


async def talk(request):
    """Gives each message back, and ends with the client."""
    socket = web.WebSocketResponse(max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type == WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type == WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket


async def main():
    application = web.Application(client_max_size=1 << 26)
    application.router.add_post("/model/{model}/{action}", bedrock)
    for path, handler in [("/echo", echo), ("/upload", upload), ("/events", events),
                          ("/audio", audio), ("/zipped", zipped), ("/nothing", nothing),
                          ("/elsewhere", elsewhere), ("/talk", talk)]:
        application.router.add_route("*", path, handler)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
