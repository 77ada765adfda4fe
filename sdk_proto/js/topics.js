/**
 * The topics that the application wants, over connections: a subscription ends with its connection, a wish does not. Pure.
 */

/** Topics that are wanted at a time: more than servers grant. */
export const LIMIT = 1_000;
const MAX_TOPIC = 256;
const MAX_TOPICS = 128; // in one frame
const CONTROL = /\p{Cc}/u;

export class Topics {
  /** @type {Set<string>} in the order of their wish */
  #wanted = new Set();

  /** The frames that tell a server of new ones. @param {string[]} topics @throws {TypeError} with nothing changed */
  want(topics) {
    const fresh = [...new Set(topics)].filter((topic) => !this.#wanted.has(topic));
    for (const topic of fresh) {
      const length = typeof topic === "string" ? [...topic].length : 0;
      if (length < 1 || length > MAX_TOPIC || CONTROL.test(topic)) throw new TypeError(`not a topic: ${topic}`);
    }
    if (this.#wanted.size + fresh.length > LIMIT) throw new TypeError(`more than ${LIMIT} topics`);
    for (const topic of fresh) this.#wanted.add(topic);
    return frames("subscribe", fresh);
  }

  /** The frames that tell a server of those that are wanted no more. @param {string[]} topics */
  drop(topics) {
    return frames("unsubscribe", [...new Set(topics)].filter((topic) => this.#wanted.delete(topic)));
  }

  /** The frames that tell a new connection of all. */
  all() {
    return frames("subscribe", [...this.#wanted]);
  }
}

function frames(type, topics) {
  const made = [];
  for (let start = 0; start < topics.length; start += MAX_TOPICS) {
    made.push({ type, topics: topics.slice(start, start + MAX_TOPICS) });
  }
  return made;
}
