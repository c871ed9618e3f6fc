// npm @anthropic-ai/sdk: messages, tools, images; streaming and not.

import Anthropic from "@anthropic-ai/sdk";
import { base, CITY, gather, pattern, REFUSED, run, TOOL, WORDS } from "./cases.mjs";

const client = new Anthropic({ baseURL: base, apiKey: "sk-ant-test", maxRetries: 0 });
const tools = [{ name: "weather", description: "Tells the weather.", input_schema: CITY }];
const model = "claude-sonnet-4-5";
const ask = (content, more = {}) =>
  client.messages.create({ model, max_tokens: 500, messages: [{ role: "user", content }], ...more });

await run({
  messages: () => ask(WORDS),
  stream: async () => gather(await ask(WORDS, { stream: true })),
  stream_gathered: () =>
    client.messages
      .stream({ model, max_tokens: 500, messages: [{ role: "user", content: WORDS }] })
      .finalMessage(),
  tools: async () => {
    const call = await ask(TOOL, { tools });
    const use = call.content.find((block) => block.type === "tool_use");
    const messages = [
      { role: "user", content: TOOL },
      { role: "assistant", content: call.content },
      {
        role: "user",
        content: [{ type: "tool_result", tool_use_id: use.id, content: "21 degrees" }],
      },
    ];
    return [call, await client.messages.create({ model, max_tokens: 500, messages, tools })];
  },
  tools_stream: async () => gather(await ask(TOOL, { tools, stream: true })),
  image: () => {
    const data = Buffer.from(pattern(150_000)).toString("base64");
    const source = { type: "base64", media_type: "image/png", data };
    return ask([{ type: "image", source }, { type: "text", text: WORDS }]);
  },
  refused: () => ask(REFUSED).catch((error) => [error.status, error.error]),
});
