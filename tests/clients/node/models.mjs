// A server that speaks the model APIs (npm @copilotkit/aimock): prints its port, serves until stopped.
//
// It answers one question in words, one with a tool call and its result in words again; a speech, a
// transcription and an embedding; and one question with an error.

import { LLMock } from "@copilotkit/aimock";

const ANSWER = "It is 21 degrees in Zürich, and the sky is clear. 世界 \u{1F600} ".repeat(4).trim();

const mock = new LLMock({ port: 0, host: "127.0.0.1", chunkSize: 7, latency: 1 });
mock.on({ toolCallId: "call_weather_1" }, { content: ANSWER });
mock.on(
  { userMessage: "use the tool", hasToolResult: false },
  { toolCalls: [{ id: "call_weather_1", name: "weather", arguments: '{"city":"Zürich","days":3}' }] },
);
// Gemini names no call by an id.
mock.on({ userMessage: "use the tool", hasToolResult: true }, { content: ANSWER });
mock.on(
  { userMessage: "be refused" },
  { error: { message: "the context is too long", type: "invalid_request_error" }, status: 400 },
);
mock.onEmbedding(/./, { embedding: [0.25, -0.5, 1e-7, 3] });
const audio = Buffer.from(Array.from({ length: 100_000 }, (_, index) => (index * 7919) % 251));
mock.onSpeech(/./, { audio: audio.toString("base64"), format: "mp3" });
mock.onTranscription({ transcription: { text: "words that were heard", language: "en" } });
mock.onMessage(/./, { content: ANSWER });
await mock.start();
console.log(mock.port);
