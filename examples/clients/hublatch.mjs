// A client of hublatch's management API for Node 18 or later, without packages. Copy this file into your application.
//
//   import { Hublatch } from "./hublatch.mjs";
//   const latch = new Hublatch("http://127.0.0.1:8010", key);
//   const link = await latch.link("alice", { path: "lab", server: "gpu", launch: true });
//   // redirect the browser to link.url at once; or, first, tell your own page how the server starts:
//   for await (const event of latch.progress(link)) console.log(event.progress, event.message);
//
// Call it from your server, never from a browser. A link is a credential until it is used: give it to nobody but the
// browser that asked, and write it into no log.
//
// As a program it does the same:
// HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... node hublatch.mjs alice --path lab --launch

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

/** No. `code` is a word to act upon, `status` that of HTTP (0: no answer), `retryAfter` seconds to wait, if told. */
export class HublatchError extends Error {
  constructor(status, code, message, retryAfter) {
    super(status ? `${message} (${status}, ${code})` : message);
    Object.assign(this, { status, code, retryAfter });
  }
}

/** One application's access. */
export class Hublatch {
  #url;
  #key;
  #timeout;

  constructor(url, key, timeout = 30_000) {
    if (!/^https?:\/\/./i.test(url)) {
      throw new HublatchError(0, "invalid_url", `${url}: hublatch's address must begin with http:// or https://`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#key = key.trim();
    this.#timeout = timeout;
  }

  /**
   * Issues a link: `path`, `server`, `next`, `expires_in`, `launch` and the other fields of openapi.yaml.
   *
   * With `launch: true`, or an object of user options, the user and the server are there or on their way when this
   * comes back: `link.server.ready` says which.
   */
  async link(username, order = {}) {
    return this.#json("POST", "/api/v1/links", { username, ...order });
  }

  /** Issues many links, all or none: each order is an object with a `username`. */
  async links(orders) {
    return (await this.#json("POST", "/api/v1/links/batch", { links: orders })).links;
  }

  /** Where a link stands: "pending", "used", "expired" or "revoked". */
  async status(link) {
    return (await this.#json("GET", `/api/v1/links/${link.id}`)).status;
  }

  /** Makes a link dead. */
  async revoke(link) {
    await this.#json("DELETE", `/api/v1/links/${link.id}`);
  }

  /** Yields what the hub tells of a launch, until an event has `ready` or `failed`. */
  async *progress(link) {
    // No limit on the whole: a server may take minutes. hublatch sends signs of life and ends what has none.
    const answer = await this.#open("GET", link.server.progress_url);
    let rest = "";
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        // Server-sent events: one line of data each; lines without are signs of life.
        if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
      }
    }
  }

  async #json(method, path, body) {
    const answer = await this.#open(method, path, body, AbortSignal.timeout(this.#timeout));
    const text = await answer.text();
    try {
      return text ? JSON.parse(text) : null;
    } catch {
      throw this.#unreadable(answer.status);
    }
  }

  /** Something else than hublatch answers there. */
  #unreadable(status) {
    return new HublatchError(status, "unreadable", `no word of hublatch; is ${this.#url} the management address?`);
  }

  async #open(method, path, body, signal) {
    const headers = { Authorization: `token ${this.#key}`, "Content-Type": "application/json" };
    let answer;
    try {
      // A redirect must not take the key elsewhere.
      const request = { method, headers, signal, redirect: "error", body: body && JSON.stringify(body) };
      answer = await fetch(this.#url + path, request);
    } catch (error) {
      throw new HublatchError(0, "unreachable", `no answer of hublatch: ${error.cause?.message ?? error.message}`);
    }
    if (answer.ok) return answer;
    const refused = await answer.json().catch(() => null);
    if (!refused?.code) throw this.#unreadable(answer.status);
    const wait = answer.headers.get("Retry-After");
    throw new HublatchError(answer.status, refused.code, refused.message, wait ? Number(wait) : undefined);
  }
}

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { path: { type: "string" }, server: { type: "string" }, launch: { type: "boolean" } },
  });
  const { HUBLATCH_API_URL: url, HUBLATCH_API_KEY: key, HUBLATCH_API_KEY_FILE: file } = process.env;
  if (!url || !(file || key)) throw new Error("set HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY");
  if (!positionals[0]) throw new Error("name a user: hublatch.mjs USERNAME [--path P] [--server S] [--launch]");
  const latch = new Hublatch(url, file ? readFileSync(file, "ascii") : key);
  const link = await latch.link(positionals[0], { ...values });
  console.log(link.url);
  if (!link.server) return;
  for await (const event of latch.progress(link)) {
    console.error(`${String(event.progress).padStart(3)} % ${event.message}`);
    if (event.failed) process.exitCode = 1;
  }
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  main().catch((error) => {
    console.error(`hublatch: ${error.message}`);
    process.exitCode = 1;
  });
}
