/** The public surface of the client. */
export { Client } from "./client.js";
export { CloseCode, Order, orderOf } from "./close.js";
export { SUBPROTOCOL, isId } from "./codec.js";
export { DropPush } from "./delivery.js";
export { SDK } from "./options.js";
export { MemoryStore, WebStore } from "./store.js";
