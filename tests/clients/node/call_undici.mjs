// npm undici, and `fetch` that Node has built in: JSON, an event stream, forms, streams, odd answers.

import { fetch as undiciFetch, FormData, request } from "undici";
import { base, digest, pattern, run } from "./cases.mjs";

const text = JSON.stringify({ n: 1, text: "Zürich" });
const told = async (answer) => [answer.status, await answer.json(), answer.headers.get("x-twice")];

async function* pieces() {
  for (const size of [1, 70_000, 9]) yield pattern(size);
}

await run({
  request: async () => {
    const { statusCode, body } = await request(`${base}/echo`, { method: "POST", body: text });
    return [statusCode, await body.json()];
  },
  request_stream: async () => {
    const { statusCode, body } = await request(`${base}/echo`, { method: "PUT", body: pieces() });
    return [statusCode, await body.json()];
  },
  audio: async () => digest(await (await request(`${base}/audio`)).body.arrayBuffer()),
  fetched: async () => told(await undiciFetch(`${base}/echo`, { method: "POST", body: text })),
  query: async () => told(await undiciFetch(`${base}/echo?a=%7E%2f;b=1&a=&empty`)),
  built_in: async () => told(await fetch(`${base}/echo`, { method: "POST", body: text })),
  events: async () => {
    const decoder = new TextDecoder();
    let read = "";
    for await (const piece of (await fetch(`${base}/events`)).body) {
      read += decoder.decode(piece, { stream: true });
    }
    return read.split("\n");
  },
  upload: async () => {
    const form = new FormData();
    form.set("purpose", "batch");
    form.set("file", new File([pattern(300_000)], "données.bin"));
    return (await undiciFetch(`${base}/upload`, { method: "POST", body: form })).json();
  },
  zipped: async () => (await fetch(`${base}/zipped`)).json(),
  bodiless: async () => {
    const head = await fetch(`${base}/audio`, { method: "HEAD" });
    const none = await fetch(`${base}/nothing`);
    return [head.status, head.headers.get("content-length"), none.status, await none.text()];
  },
  redirect: async () => told(await fetch(`${base}/elsewhere`, { method: "POST", body: "again" })),
});
