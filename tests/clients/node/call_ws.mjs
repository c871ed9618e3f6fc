// npm ws: messages of every kind.

import WebSocket from "ws";
import { base, digest, pattern, run } from "./cases.mjs";

const url = `${base.replace(/^http/, "ws")}/talk`;
// It goes through a proxy by an agent.
const proxy = base.startsWith("https") ? process.env.HTTPS_PROXY : process.env.HTTP_PROXY;
let agent;
if (proxy) agent = new (await import("https-proxy-agent")).HttpsProxyAgent(proxy);

// Sends each message, wants it back before the next, and closes.
function talk(messages, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, { agent, ...options });
    const said = [];
    socket.on("open", () => socket.send(messages[0]));
    socket.on("message", (data, binary) => {
      said.push([binary, digest(data)]);
      if (said.length < messages.length) socket.send(messages[said.length]);
      else socket.close(1000, "done");
    });
    socket.on("close", (code, reason) => resolve([said, code, reason.toString()]));
    socket.on("error", reject);
  });
}

const texts = ["hello", "Zürich ".repeat(500), "\u{1F600}"];
await run({
  compressed: () => talk([...texts, pattern(100_000)]),
  plain: () => talk([...texts, pattern(100_000)], { perMessageDeflate: false }),
});
