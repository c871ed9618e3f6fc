"""PyPI mcp: tools, progress over a long event stream, resources and prompts of a server."""

from cases import BASE, run
from mcp import Client

URL = f"{BASE}/mcp"


async def use(mode):
    async with Client(URL, mode=mode) as client:
        listed = await client.list_tools()
        said = [sorted(tool.name for tool in listed.tools)]
        said.append(await client.call_tool("add", {"a": 40, "b": 2}))
        heard = []

        async def progress(done, total, message):
            heard.append([done, total, message])

        said.append(await client.call_tool("slow", {"steps": 10}, progress_callback=progress))
        said.append(heard)
        said.append(await client.call_tool("fail", {}))
        said.append(await client.read_resource("bytes://picture"))
        said.append(await client.get_prompt("greet", {"name": "Z\u00fcrich"}))
        return said


async def handshake():
    return await use("legacy")


async def discover():
    return await use("auto")


run(handshake, discover)
