/**
 * From a push that is new to this device to its ack: handler returned, id remembered, then ack (PROTOCOL.md §4, "ACK").
 * Outlives connections: a handler may finish on a later one than its push came on.
 */

/** Throw it from the push handler to refuse a push for good: it ends as `undeliverable`, reason `dropped`. */
export class DropPush extends Error {
  name = "DropPush";
}

export class Delivery {
  #handler;
  #seen;
  #settle;
  #report;
  /** Ids whose handler runs. At most a window's worth: the server sends no more without an ack. */
  #running = new Set();

  /**
   * @param {object} parts
   * @param {(push: import("./codec.js").Push) => unknown} parts.handler the application's
   * @param {import("./seen.js").Seen} parts.seen
   * @param {(id: string, status: "received" | "dropped") => void} parts.settle
   * @param {(kind: "handler" | "store", error: unknown, id: string) => void} parts.report
   */
  constructor({ handler, seen, settle, report }) {
    this.#handler = handler;
    this.#seen = seen;
    this.#settle = settle;
    this.#report = report;
  }

  /**
   * Hand a push to the application, once. If the handler fails it isn't acked and isn't remembered: the server takes its
   * other roads, and sends it again after a reconnect.
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

  async #handle(push) {
    try {
      await this.#handler(push);
      return "received";
    } catch (error) {
      if (error instanceof DropPush) return "dropped";
      this.#report("handler", error, push.id);
      return null;
    }
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
