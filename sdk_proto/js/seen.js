/**
 * The ids this device has already shown: the newest 2,048 at least, until they expire, over restarts (PROTOCOL.md §5, "Ack").
 *
 * Ids are kept in segments of 128. A new id rewrites one segment of a few kilobytes, not the whole list, since a browser's
 * storage writes synchronously. A full ring overwrites its oldest segment.
 */

const SEGMENT = 128;
const CAPACITY = 2048;
/** One more than the capacity needs: the newest segment is partly filled. */
const SEGMENTS = CAPACITY / SEGMENT + 1;
/** The longest `ttl` there is: how long an id is kept whose expiry nobody told us. */
const LONGEST_TTL_MS = 604_800_000;

export class Seen {
  #store;
  #prefix;
  /** @type {Map<number, Map<string, number>>} serial of the segment → its ids and when they expire; newest last */
  #segments = new Map();
  /** @type {Map<string, number>} id → serial of its segment */
  #where = new Map();
  /** The newest segment's; -1 before the first. */
  #serial = -1;
  /** Writes go one after the other: an older state of a segment must never land on a newer one. */
  #writing = Promise.resolve();

  /**
   * @param {import("./store.js").Store} store
   * @param {string} owner whose ids these are, `app/device`: two apps may use one device name
   */
  constructor(store, owner) {
    this.#store = store;
    this.#prefix = `seen:${owner}:`;
  }

  get size() {
    return this.#where.size;
  }

  /** Read what an earlier run remembered. A segment that can't be read is left out: its pushes may show twice, none is lost. */
  async load() {
    const found = [];
    for (let slot = 0; slot < SEGMENTS; slot += 1) {
      const segment = parseSegment(await this.#store.get(this.#prefix + slot));
      if (segment !== null && segment.serial % SEGMENTS === slot) found.push(segment);
    }
    found.sort((a, b) => a.serial - b.serial);
    this.#segments.clear();
    this.#where.clear();
    for (const { serial, ids } of found) this.#put(serial, ids);
    this.#serial = found.at(-1)?.serial ?? -1;
  }

  /** @param {string} id */
  has(id) {
    return this.#where.has(id);
  }

  /**
   * Remember an id. It counts as seen at once; the promise settles when it is stored too, and rejects with the store's error.
   *
   * @param {string} id
   * @param {number} expires Unix milliseconds of the server's clock; 0 if unknown
   * @param {number} serverNow the server's clock now
   */
  async add(id, expires, serverNow) {
    if (this.has(id)) return;
    let segment = this.#segments.get(this.#serial);
    if (segment === undefined || segment.size >= SEGMENT) segment = this.#startSegment(serverNow);
    segment.set(id, expires || serverNow + LONGEST_TTL_MS);
    this.#where.set(id, this.#serial);
    await this.#save(this.#serial, segment);
  }

  #startSegment(serverNow) {
    this.#serial += 1;
    // The oldest gives way; what in it still lives and fits is not moved: 2,048 newer ones are kept.
    this.#drop(this.#serial - SEGMENTS);
    for (const [serial, ids] of this.#segments) {
      if ([...ids.values()].every((expires) => expires <= serverNow)) this.#forget(serial);
    }
    const segment = new Map();
    this.#segments.set(this.#serial, segment);
    return segment;
  }

  #put(serial, ids) {
    this.#segments.set(serial, ids);
    for (const id of ids.keys()) this.#where.set(id, serial);
  }

  #drop(serial) {
    for (const id of this.#segments.get(serial)?.keys() ?? []) this.#where.delete(id);
    this.#segments.delete(serial);
  }

  #forget(serial) {
    this.#drop(serial);
    // Best effort: an expired segment that stays in the store costs space and nothing else.
    this.#write(() => this.#store.remove(this.#key(serial))).catch(() => {});
  }

  #save(serial, ids) {
    return this.#write(() => this.#store.set(this.#key(serial), JSON.stringify({ serial, ids: [...ids] })));
  }

  #write(operation) {
    const result = this.#writing.then(operation);
    this.#writing = result.catch(() => {});
    return result;
  }

  #key(serial) {
    return this.#prefix + (serial % SEGMENTS);
  }
}

function parseSegment(text) {
  if (text === null || text === undefined) return null;
  try {
    const { serial, ids } = JSON.parse(text);
    return Number.isSafeInteger(serial) && serial >= 0 ? { serial, ids: new Map(ids) } : null;
  } catch {
    return null;
  }
}
