/**
 * Which installation this is, and its count of attempts to sign in (`hello.install`, `hello.attempt`). Within one
 * installation the higher attempt wins, so that a connection which hangs half-open can't push out its own successor.
 */

export class Identity {
  #store;
  #key;
  /** What is used while the store doesn't answer. */
  #known = null;

  /** @param {import("./store.js").Store} store @param {string} owner `app/device` */
  constructor(store, owner) {
    this.#store = store;
    this.#key = `identity:${owner}`;
  }

  /**
   * The installation and a new, higher attempt, stored before it is used. The store is read each time: another page of this
   * installation may have counted on. Rejects never: without a store the count goes on in memory.
   *
   * @param {(error: unknown) => void} onError told when the store failed
   * @returns {Promise<{install: string, attempt: number}>}
   */
  async nextAttempt(onError) {
    try {
      const stored = parse(await this.#store.get(this.#key));
      if (stored && stored.attempt >= (this.#known?.attempt ?? 0)) this.#known = stored;
    } catch (error) {
      onError(error);
    }
    const { install, attempt } = this.#known ?? { install: randomInstall(), attempt: 0 };
    this.#known = { install, attempt: attempt + 1 };
    try {
      await this.#store.set(this.#key, JSON.stringify(this.#known));
    } catch (error) {
      onError(error);
    }
    return this.#known;
  }
}

function parse(text) {
  if (text === null || text === undefined) return null;
  try {
    const { install, attempt } = JSON.parse(text);
    return typeof install === "string" && Number.isSafeInteger(attempt) ? { install, attempt } : null;
  } catch {
    return null;
  }
}

function randomInstall() {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
