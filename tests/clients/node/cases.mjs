// What the Node clients share: each case is one line of JSON on standard output.

import { createHash } from "node:crypto";
import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

// Where the server is: the only thing that differs between a direct call and one through a door.
export const base = process.argv[2];
export const [WORDS, TOOL, REFUSED] = ["say it in words", "use the tool", "be refused"];
export const CITY = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};

// `fetch` reads proxy variables only where it is told to; this is its documented way.
if (process.env.HTTP_PROXY || process.env.HTTPS_PROXY) {
  setGlobalDispatcher(new EnvHttpProxyAgent());
}

// Bytes of every value, the same each time.
export function pattern(size) {
  const bytes = new Uint8Array(size);
  for (let index = 0; index < size; index++) bytes[index] = (index * 31 + (index >> 8)) % 256;
  return bytes;
}

export function digest(data) {
  const bytes = typeof data === "string" ? Buffer.from(data) : Buffer.from(data);
  return [bytes.length, createHash("sha256").update(bytes).digest("hex")];
}

export async function gather(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

// Runs the cases in order; those named on the command line behind the base, if any are.
export async function run(cases) {
  const named = process.argv.slice(3);
  for (const [name, body] of Object.entries(cases)) {
    if (named.length > 0 && !named.includes(name)) continue;
    const line = { case: name };
    try {
      line.result = (await body()) ?? null;
    } catch (error) {
      line.failed = `${error.name}: ${error.message} ${error.cause ?? ""}`;
    }
    console.log(JSON.stringify(line));
  }
  // No client may keep the process alive.
  process.exit(0);
}
