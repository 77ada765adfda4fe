/**
 * What an application hands to the client, and what is taken where it hands nothing.
 */

import { DEFAULT_LIMITS } from "./session.js";
import { defaultStore } from "./store.js";

export const SDK = "js/1.0.0";

/**
 * @typedef {object} Clock
 * @property {() => number} now monotonic milliseconds
 * @property {(callback: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 *
 * @typedef {object} Status
 * @property {"offline" | "connecting" | "online" | "waiting" | "stopped"} state `offline`: by `stop()`; `waiting`: for the next
 *   attempt; `stopped`: the server ordered it, see `code`
 * @property {string | null} session the server's name for the connection, for logs
 * @property {number | null} code of the last close
 * @property {string} reason of the last close
 * @property {number | null} retryMs while `waiting`: until the next attempt, as of this change
 * @property {number} pending while `online`: a hint of how much waits on the server
 *
 * @typedef {object} Options
 * @property {string | string[]} url of the gateway, `wss://…/v1/connect`; several in order of preference
 * @property {string} app
 * @property {string} device
 * @property {string | ((why: {code: number | null}) => string | Promise<string>)} token a JWT, or what gets one; called for the
 *   first, and again with the close code when the server wants another. A fixed token that is refused stops the client
 * @property {(push: import("./codec.js").Push) => unknown} onPush called once for each push; acked when its promise
 *   resolved. Throw `DropPush` to refuse one for good
 * @property {number} [handlerTries] this failure of `onPush` ends a push as `dropped`; 3 by default
 * @property {(id: string) => void} [onRecall] take this notification away
 * @property {(status: Status) => void} [onStatus]
 * @property {(stop: {code: number | null, reason: string}) => void} [onStop] the server ordered to stop; `start()` tries again
 * @property {(error: {kind: "handler" | "store" | "token" | "dial" | "server" | "undecodable" | "callback", error: unknown, id?: string}) => void} [onError]
 * @property {(config: {key: string, version: number, value: unknown}) => void} [onConfig]
 * @property {import("./store.js").Store} [store] outlives restarts; `localStorage` by default, memory without one
 * @property {number} [heartbeat] seconds between pings; without it they are learned for each network
 * @property {number} [window] wished number of un-acked pushes
 * @property {"foreground" | "background"} [state]
 * @property {string} [network] a label: `wifi`, `cellular`, …, of the one that there is at the start; `wake()` tells of another
 * @property {string[]} [features]
 * @property {typeof globalThis.WebSocket} [WebSocket] needed where there is no global one (Node 20)
 * @property {Partial<typeof DEFAULT_LIMITS>} [limits] deadlines in milliseconds
 * @property {Clock} [clock]
 * @property {() => number} [random]
 */

/** @type {Clock} */
const SYSTEM_CLOCK = {
  now: () => performance.now(),
  setTimeout: (callback, ms) => setTimeout(callback, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/**
 * The options with every default filled in.
 *
 * @param {Options} options
 * @throws {TypeError} naming the option that can't be used
 */
export function withDefaults(options) {
  for (const name of ["app", "device"]) {
    if (typeof options[name] !== "string" || options[name] === "") throw new TypeError(`${name} must be a name`);
  }
  if (typeof options.token !== "function" && typeof options.token !== "string") {
    throw new TypeError("token must be a string or a function that gets one");
  }
  if (typeof options.onPush !== "function") throw new TypeError("onPush must be a function");
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  if (typeof WebSocket !== "function") throw new TypeError("no WebSocket here: pass a class as `WebSocket`");
  return {
    ...options,
    WebSocket,
    state: options.state ?? "foreground",
    clock: options.clock ?? SYSTEM_CLOCK,
    random: options.random ?? Math.random,
    handlerTries: options.handlerTries ?? 3,
    store: options.store ?? defaultStore(),
    limits: { ...DEFAULT_LIMITS, ...options.limits },
  };
}
