/**
 * From a push that is new to this device to its ack: handler returned, id remembered, then ack (PROTOCOL.md §5, "Ack").
 * Outlives connections: a handler may finish on a later one than its push came on.
 */

/** Throw it from the push handler to refuse a push for good: it ends as `undeliverable`, reason `dropped`. */
export class DropPush extends Error {
  name = "DropPush";
}

/** Pushes whose failures are counted; beyond it the oldest count is forgotten. */
const FAILURES_KEPT = 256;

export class Delivery {
  #handler;
  #tries;
  #seen;
  #settle;
  #report;
  /** Ids whose handler runs. At most a window's worth: the server sends no more without an ack. */
  #running = new Set();
  /** @type {Map<string, number>} id → how often its handler failed */
  #failures = new Map();

  /**
   * @param {object} parts
   * @param {(push: import("./codec.js").Push) => unknown} parts.handler the application's
   * @param {number} parts.tries this failure of the handler ends a push
   * @param {import("./seen.js").Seen} parts.seen
   * @param {(id: string, status: "received" | "dropped") => void} parts.settle
   * @param {(kind: "handler" | "store", error: unknown, id: string) => void} parts.report
   */
  constructor({ handler, tries, seen, settle, report }) {
    this.#handler = handler;
    this.#tries = tries;
    this.#seen = seen;
    this.#settle = settle;
    this.#report = report;
  }

  /**
   * Hand a push to the application, once. If the handler fails it isn't acked and isn't remembered: the server takes its
   * other roads, and sends it again after a reconnect. The last try ends it as dropped, so that one push that can't be
   * handled doesn't hold a place of the window for ever.
   */
  async push(push, serverNow) {
    // Sent again on a new connection while its handler still runs: that run will ack it.
    if (this.#running.has(push.id)) return undefined;
    // Its recall came in the same message, when the session had already read both.
    if (this.#seen.has(push.id)) return this.#settle(push.id, "received");
    this.#running.add(push.id);
    try {
      const status = await this.#handle(push);
      if (status === null) return undefined;
      this.#failures.delete(push.id);
      await this.#remember(push.id, push.expires, serverNow);
      return this.#settle(push.id, status);
    } finally {
      this.#running.delete(push.id);
    }
  }

  /** Taken back by its sender: counts as seen from now on. */
  async recall(id, serverNow) {
    await this.#remember(id, 0, serverNow);
  }

  /** @returns {Promise<"received" | "dropped" | null>} null: to be tried again */
  async #handle(push) {
    try {
      await this.#handler(push);
      return "received";
    } catch (error) {
      if (error instanceof DropPush) return "dropped";
      this.#report("handler", error, push.id);
      return this.#failed(push.id);
    }
  }

  /** @returns {"dropped" | null} */
  #failed(id) {
    const failures = (this.#failures.get(id) ?? 0) + 1;
    this.#failures.delete(id);
    if (failures >= this.#tries) return "dropped";
    this.#failures.set(id, failures);
    if (this.#failures.size > FAILURES_KEPT) this.#failures.delete(this.#failures.keys().next().value);
    return null;
  }

  async #remember(id, expires, serverNow) {
    try {
      await this.#seen.add(id, expires, serverNow);
    } catch (error) {
      // A full or forbidden store lasts. Without an ack nothing would arrive any more, so the id counts for this run.
      this.#report("store", error, id);
    }
  }
}
