/**
 * Close codes: the range is the order that the client follows (PROTOCOL.md §6). Knows nothing of sockets.
 */

/** Every code that the protocol names. */
export const CloseCode = Object.freeze({
  SHUTTING_DOWN: 4000,
  HEARTBEAT_MISSED: 4001,
  TOO_SLOW: 4002,
  OVERLOADED: 4003,
  MAXIMUM_AGE: 4004,
  HELLO_TOO_LATE: 4005,
  INTERNAL_ERROR: 4006,
  SUPERSEDED: 4007,
  PINGING_TOO_FAST: 4008,
  MIGRATE: 4100,
  TOKEN_EXPIRED: 4200,
  TOKEN_REFUSED: 4201,
  PROTOCOL_ERROR: 4300,
  REPLACED: 4301,
  APP_DISABLED: 4303,
  DEVICE_BLOCKED: 4304,
  NO_COMMON_VERSION: 4305,
});

/** What a client does after a close. */
export const Order = Object.freeze({
  RECONNECT: "reconnect", // with backoff, not before `retry_after_ms`
  ELSEWHERE: "elsewhere", // reconnect to another address
  NEW_TOKEN: "new_token",
  STOP: "stop", // tell the application
});

/**
 * The order behind a close code; any code not listed, or none, means reconnect with backoff.
 *
 * @param {number | null | undefined} code
 * @returns {"reconnect" | "elsewhere" | "new_token" | "stop"}
 */
export function orderOf(code) {
  if (code >= 4100 && code <= 4199) return Order.ELSEWHERE;
  if (code >= 4200 && code <= 4299) return Order.NEW_TOKEN;
  if (code >= 4300 && code <= 4399) return Order.STOP;
  return Order.RECONNECT;
}
