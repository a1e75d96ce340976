/**
 * The node, asked over HTTP. The token is here, in memory, and goes nowhere but into a header.
 */

import { readEvents } from "./events.js";

const SILENT_SECONDS = 45;

/** An answer that is no success. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class CacheNode {
  #token = null;

  /** Take a token; `null` to ask without one. */
  use(token) {
    this.#token = token;
  }

  /** Whether there is a token. */
  get signedIn() {
    return this.#token !== null;
  }

  /**
   * Send a request.
   *
   * @param {string} path Below this page's own address.
   * @returns The JSON document of the answer; `null` where there is none.
   * @throws {Refused} The node says no.
   * @throws {TypeError} It cannot be reached.
   */
  async ask(method, path, document = null) {
    const headers = {};
    if (document !== null) headers["Content-Type"] = "application/json";
    const answer = await this.#send(path, {
      method,
      headers,
      body: document === null ? null : JSON.stringify(document),
      signal: AbortSignal.timeout(path.endsWith("/verify") ? 6 * 3600 * 1000 : 60 * 1000),
    });
    const isJson = (answer.headers.get("Content-Type") ?? "").startsWith("application/json");
    return isJson ? answer.json() : null;
  }

  /**
   * Follow what happens, until the connection ends. First comes an event of our own, `opened`.
   *
   * @param {AbortSignal} signal Ends it.
   */
  async *follow(signal) {
    // A node sends something every 15 seconds; a connection that brings nothing is none any more.
    const silence = new AbortController();
    let timer = null;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_SECONDS * 1000);
    };
    alive();
    try {
      const answer = await this.#send("v2/cache/events", { signal: AbortSignal.any([signal, silence.signal]) });
      yield { kind: "opened", facts: {} };
      yield* readEvents(answer.body, alive);
    } finally {
      clearTimeout(timer);
    }
  }

  async #send(path, options) {
    const headers = { Accept: "application/json", ...options.headers };
    if (this.#token !== null) headers["X-Auth-Token"] = this.#token;
    const answer = await fetch(path, {
      ...options,
      headers,
      cache: "no-store",
      credentials: "omit",
      mode: "same-origin",
      redirect: "error",
      referrerPolicy: "no-referrer",
    });
    if (answer.ok) return answer;
    throw new Refused(answer.status, await problem(answer));
  }
}

async function problem(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).message ?? text;
  } catch {
    return text.slice(0, 300) || `the node answered ${answer.status}`;
  }
}
