/**
 * Where a client keeps what must outlive a restart: small strings under string keys. Knows nothing of what they mean.
 *
 * Any object with these three methods will do (IndexedDB, a mini-program's storage); each may return a promise.
 *
 * @typedef {object} Store
 * @property {(key: string) => string | null | Promise<string | null>} get
 * @property {(key: string, value: string) => void | Promise<void>} set
 * @property {(key: string) => void | Promise<void>} remove
 */

/** Forgets with the page: for tests, and for pages that may not store. @implements {Store} */
export class MemoryStore {
  #values = new Map();

  get(key) {
    return this.#values.get(key) ?? null;
  }

  set(key, value) {
    this.#values.set(key, value);
  }

  remove(key) {
    this.#values.delete(key);
  }
}

/** A `Storage` of the browser (`localStorage` unless another is given), under a prefix. @implements {Store} */
export class WebStore {
  #storage;
  #prefix;

  /** @param {Storage} [storage] @param {string} [prefix] */
  constructor(storage = globalThis.localStorage, prefix = "taco:") {
    this.#storage = storage;
    this.#prefix = prefix;
  }

  get(key) {
    return this.#storage.getItem(this.#prefix + key);
  }

  set(key, value) {
    this.#storage.setItem(this.#prefix + key, value);
  }

  remove(key) {
    this.#storage.removeItem(this.#prefix + key);
  }
}

/** The browser's `localStorage` where there is one that may be used, else memory. @returns {Store} */
export function defaultStore() {
  try {
    // Reading the property itself throws where a browser forbids storage.
    if (globalThis.localStorage) return new WebStore(globalThis.localStorage);
  } catch {
    // Forbidden is the same as absent.
  }
  return new MemoryStore();
}
