/**
 * Acks on their way to the server, over the life of the client: batched, and kept while there is no connection, since an ack
 * may name ids of an earlier one (PROTOCOL.md §5, "Ack"). Pure: `now` is monotonic milliseconds, handed in.
 *
 * Nobody answers an ack. A lost `received` heals itself: the push comes again and is acked again. A lost `displayed` or
 * `clicked` would stay lost, so these are kept until a pong shows that the server had read what was sent before its ping.
 */

/** How long an ack may wait for others. */
export const BATCH_MS = 50;
/** Acks that go out together at most without waiting for more. */
const BATCH = 64;
/** Ids in one frame: 500 × 23 bytes stay far below the 64 KiB that a frame may have. */
const IDS_PER_FRAME = 500;
/** Acks kept, waiting or unconfirmed; beyond it the oldest goes. */
const LIMIT = 4096;

export class Acks {
  #waiting = [];
  #unconfirmed = [];
  #dueAt = null;
  #sent = 0;
  #batch = BATCH;

  /** Acks that were given up because too many had gathered. */
  dropped = 0;

  /** @param {string} id @param {"received" | "displayed" | "clicked" | "dropped" | "undecodable"} status @param {number} now */
  add(id, status, now) {
    this.#waiting.push({ id, status });
    this.#dueAt ??= now + BATCH_MS;
    if (this.#waiting.length >= this.#batch) this.#dueAt = Math.min(this.#dueAt, now);
    this.#bound(this.#waiting);
  }

  /** When what waits should be sent; null if nothing waits. */
  get dueAt() {
    return this.#dueAt;
  }

  /** Take all that waits, as frames: one status a frame, in the order in which the statuses came first. */
  take() {
    const byStatus = new Map();
    for (const { id, status } of this.#waiting) {
      if (!byStatus.has(status)) byStatus.set(status, new Set());
      byStatus.get(status).add(id);
    }
    this.#sent += 1;
    for (const ack of this.#waiting) {
      if (isReport(ack.status)) this.#unconfirmed.push({ ...ack, batch: this.#sent });
    }
    this.#bound(this.#unconfirmed);
    this.#waiting = [];
    this.#dueAt = null;
    const frames = [];
    for (const [status, ids] of byStatus) {
      const list = [...ids];
      for (let at = 0; at < list.length; at += IDS_PER_FRAME) {
        frames.push({ type: "ack", ids: list.slice(at, at + IDS_PER_FRAME), status });
      }
    }
    return frames;
  }

  /** What a pong to a ping that is sent now will confirm. */
  get mark() {
    return this.#sent;
  }

  /** The server has read everything up to `mark`. */
  confirm(mark) {
    this.#unconfirmed = this.#unconfirmed.filter(({ batch }) => batch > mark);
  }

  /**
   * A new connection: what was never confirmed is sent again, at once. The server goes on when half of the window is free, so
   * from now on a batch waits for no more acks than that.
   */
  reopen(window, now) {
    this.#batch = Math.max(1, Math.min(BATCH, Math.floor(window / 2)));
    this.#waiting = [...this.#unconfirmed.map(({ id, status }) => ({ id, status })), ...this.#waiting];
    this.#unconfirmed = [];
    this.#bound(this.#waiting);
    this.#dueAt = this.#waiting.length > 0 ? now : null;
  }

  #bound(list) {
    const excess = list.length - LIMIT;
    if (excess > 0) {
      list.splice(0, excess);
      this.dropped += excess;
    }
  }
}

function isReport(status) {
  return status === "displayed" || status === "clicked";
}
