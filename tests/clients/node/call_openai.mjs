// npm openai: chat, tools, responses, embeddings, speech, transcription, files; streaming and not.

import OpenAI, { toFile } from "openai";
import { base, CITY, digest, gather, pattern, REFUSED, run, TOOL, WORDS } from "./cases.mjs";

const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "sk-test", maxRetries: 0 });
const tools = [{ type: "function", function: { name: "weather", parameters: CITY } }];
const ask = (content, more = {}) =>
  client.chat.completions.create({ model: "gpt-4o", messages: [{ role: "user", content }], ...more });

await run({
  chat: () => ask(WORDS),
  chat_stream: async () => gather(await ask(WORDS, { stream: true })),
  tools: async () => {
    const call = (await ask(TOOL, { tools })).choices[0].message;
    const result = { role: "tool", tool_call_id: call.tool_calls[0].id, content: '{"degrees":21}' };
    const messages = [{ role: "user", content: TOOL }, call, result];
    return [call, await client.chat.completions.create({ model: "gpt-4o", messages, tools })];
  },
  tools_stream: async () => gather(await ask(TOOL, { tools, stream: true })),
  responses: () => client.responses.create({ model: "gpt-4o", input: WORDS }),
  responses_stream: async () =>
    gather(await client.responses.create({ model: "gpt-4o", input: WORDS, stream: true })),
  embeddings: () =>
    client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"], encoding_format: "float" }),
  speech: async () => {
    const made = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: "Say." });
    return digest(await made.arrayBuffer());
  },
  transcription: async () => {
    const file = await toFile(pattern(200_000), "sound.wav");
    return client.audio.transcriptions.create({ model: "whisper-1", file });
  },
  upload: async () => {
    const file = await toFile(pattern(70_000), "données.jsonl");
    const made = await client.files.create({ file, purpose: "user_data" });
    return [made, digest(await (await client.files.content(made.id)).arrayBuffer())];
  },
  refused: () => ask(REFUSED).catch((error) => [error.status, error.error]),
});
