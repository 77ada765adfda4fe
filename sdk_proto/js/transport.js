/**
 * A thin shell around one WebSocket. Knows nothing of frames: text in, text out, and silence once it was let go.
 */

import { SUBPROTOCOL } from "./codec.js";

/** RFC 6455 lets a page close with 1000 or 3000–4999 only. */
const NORMAL = 1000;
/** What no browser can be told about: the connection ended without a close frame. */
export const ABNORMAL = 1006;

export class Transport {
  #socket;
  #handlers;

  /**
   * Dials at once.
   *
   * @param {string} url
   * @param {object} handlers `onOpen()`, `onText(text)`, `onClose(code, reason)`; onClose comes once, and never after `close`
   * @param {typeof globalThis.WebSocket} WebSocket
   * @throws what the class throws for an address that it refuses
   */
  constructor(url, handlers, WebSocket) {
    this.#handlers = handlers;
    const socket = new WebSocket(url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onopen = () => {
      // A server that picked no subprotocol isn't ours: a proxy's error page, a portal.
      if (socket.protocol === SUBPROTOCOL) this.#handlers?.onOpen();
      else this.#end(ABNORMAL, "the server does not speak taco.v1+json");
    };
    socket.onmessage = ({ data }) => this.#handlers?.onText(data);
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
    // The close event that always follows says all that a page may know.
    socket.onerror = () => {};
  }

  send(text) {
    // After its end the socket would throw or count bytes nobody sends; the close event is on its way.
    if (this.#handlers !== null && this.#socket.readyState === 1) this.#socket.send(text);
  }

  /** Let go: close, and hear nothing from it any more. A close handshake may hang for minutes; nobody waits for it. */
  close(code = NORMAL, reason = "") {
    this.#handlers = null;
    this.#socket.close(code, reason);
  }

  #end(code, reason) {
    const handlers = this.#handlers;
    this.#handlers = null;
    if (this.#socket.readyState < 2) this.#socket.close();
    handlers?.onClose(code, reason);
  }
}
