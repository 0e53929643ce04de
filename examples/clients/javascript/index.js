// A client of hublatch's management API for Node 18 or later, without packages.
//
//   import { Hublatch } from "@hublatch/client";
//   const latch = new Hublatch("http://127.0.0.1:8010", key);
//   const link = await latch.link("alice", { path: "lab", server: "gpu", launch: true });
//   // redirect the browser to link.url at once; or, first, tell your own page how the server starts:
//   for await (const event of latch.progress(link)) console.log(event.progress, event.message);
//
// Call it from your server, never from a browser. A link is a credential until it is used: give it to nobody but the
// browser that asked, and write it into no log.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { setTimeout as delay } from "node:timers/promises";

const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
// The longest wait that a retry takes upon itself; whoever is told to wait longer decides that for themselves.
const WAIT_MILLISECONDS_MAX = 5000;
// hublatch or the hub is not there for a moment. What they mean is in docs/errors.md.
const PASSING = ["store_unavailable", "hub_unavailable", "hub_timeout", "rate_limited", "no_randomness", "unreachable"];

/** No: see index.d.ts. */
export class HublatchError extends Error {
  constructor(status, code, message, more = {}) {
    super(status ? `${message} (${status}, ${code})` : message);
    Object.assign(this, { name: "HublatchError", status, code }, more);
  }
}

/** One application's access: see index.d.ts. */
export class Hublatch {
  #url;
  #key;
  #options;

  constructor(url, key, { timeout = 30_000, ca, caFile, cert, clientKey, retries = 2 } = {}) {
    if (!/^(https?:\/\/.|unix:\/.)/i.test(url)) {
      const wanted = "hublatch's address must begin with http://, https:// or unix:/";
      throw new HublatchError(0, "invalid_url", `${url}: ${wanted}`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#key = key.trim();
    this.#options = { timeout, retries, tls: { ca: caFile ? readFileSync(caFile) : ca, cert, key: clientKey } };
  }

  static fromEnvironment(options) {
    const { HUBLATCH_API_URL: url, HUBLATCH_API_KEY: key, HUBLATCH_API_KEY_FILE: file } = process.env;
    if (!url || !(file || key)) {
      const wanted = "set HUBLATCH_API_URL, and HUBLATCH_API_KEY_FILE or HUBLATCH_API_KEY";
      throw new HublatchError(0, "not_configured", wanted);
    }
    return new Hublatch(url, file ? readFileSync(file, "ascii") : key, options);
  }

  async link(username, { idempotencyKey = randomUUID(), ...order } = {}) {
    const headers = { "Idempotency-Key": idempotencyKey };
    return this.#repeated("POST", "/api/v1/links", { username, ...order }, headers);
  }

  async links(orders) {
    return (await this.#json("POST", "/api/v1/links/batch", { links: orders })).links;
  }

  async read(link) {
    return this.#repeated("GET", path("links", link.id));
  }

  async status(link) {
    return (await this.read(link)).status;
  }

  async revoke(link) {
    await this.#repeated("DELETE", path("links", link.id));
  }

  async revokeUser(username) {
    return (await this.#repeated("DELETE", path("users", username, "links"))).revoked;
  }

  async endSessions(username) {
    return (await this.#repeated("DELETE", path("users", username, "sessions"))).ended;
  }

  async verify(hubToken) {
    try {
      return await this.#repeated("POST", "/api/v1/verify", { token: hubToken });
    } catch (error) {
      if (error.code === "unknown") return null;
      throw error;
    }
  }

  async *progress(link) {
    // The timeout is one of silence: a server may take minutes, and hublatch sends signs of life.
    const answer = await this.#open("GET", link.server.progress_url);
    let rest = "";
    try {
      for await (const text of answer.setEncoding("utf8")) {
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          // Server-sent events: one line of data each; lines without are signs of life.
          if (line.startsWith("data:")) yield JSON.parse(line.slice(5));
        }
      }
    } catch (error) {
      throw new HublatchError(0, "broken_off", `the progress broke off: ${error.message}`);
    } finally {
      answer.destroy();
    }
  }

  /** Calls that change nothing when they are made twice. */
  async #repeated(method, target, body, headers) {
    let wait = 100;
    for (let left = this.#options.retries; ; left -= 1) {
      try {
        return await this.#json(method, target, body, headers);
      } catch (error) {
        wait = Math.max(wait, (error.retryAfter ?? 0) * 1000);
        if (left <= 0 || !PASSING.includes(error.code) || wait > WAIT_MILLISECONDS_MAX) throw error;
      }
      await delay(wait);
      wait *= 3;
    }
  }

  async #json(method, target, body, headers) {
    const answer = await this.#open(method, target, body, headers);
    const text = await this.#text(answer);
    try {
      return text ? JSON.parse(text) : null;
    } catch {
      throw this.#unreadable(answer.statusCode);
    }
  }

  async #text(answer) {
    let text = "";
    try {
      for await (const piece of answer.setEncoding("utf8")) {
        text += piece;
        if (text.length > ANSWER_BYTES_MAX) throw new Error("the answer is too long");
      }
    } catch (error) {
      throw this.#unreachable(error);
    }
    return text;
  }

  #unreachable(error) {
    return new HublatchError(0, "unreachable", `no answer of hublatch at ${this.#url}: ${error.message || error.code}`);
  }

  /** Something else than hublatch answers there. */
  #unreadable(status) {
    return new HublatchError(status, "unreadable", `no word of hublatch; is ${this.#url} the management address?`);
  }

  /** The head of the answer. Not fetch: that knows neither unix sockets nor an authority of one's own. */
  async #send(method, target, body, more) {
    const { timeout, tls } = this.#options;
    const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const headers = { Authorization: `token ${this.#key}`, "Content-Type": "application/json", ...more };
    // Also for an order without a body: a DELETE of unknown length is what some proxies refuse.
    headers["Content-Length"] = data?.length ?? 0;
    const socketPath = /^unix:(.+)/i.exec(this.#url)?.[1];
    const address = socketPath ? `http://localhost${target}` : this.#url + target;
    const module = address.toLowerCase().startsWith("https:") ? https : http;
    return new Promise((resolve, reject) => {
      // No agent: a connection that is kept could be one that hublatch has just closed.
      const options = { method, headers, timeout, socketPath, agent: false, ...(module === https ? tls : {}) };
      const request = module.request(address, options, resolve);
      request.on("timeout", () => request.destroy(new Error("no answer in time")));
      request.on("error", reject);
      request.end(data);
    });
  }

  async #open(method, target, body, more) {
    let answer;
    try {
      answer = await this.#send(method, target, body, more);
    } catch (error) {
      throw this.#unreachable(error);
    }
    if (answer.statusCode < 300) return answer;
    const told = parsed(await this.#text(answer));
    if (!told?.code) throw this.#unreadable(answer.statusCode);
    const wait = answer.headers["retry-after"];
    throw new HublatchError(answer.statusCode, told.code, told.message, {
      retryAfter: wait ? Number(wait) : undefined,
      field: told.field,
      docUrl: told.doc_url,
      requestId: answer.headers["x-request-id"],
    });
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function path(...segments) {
  return `/api/v1/${segments.map(encodeURIComponent).join("/")}`;
}
