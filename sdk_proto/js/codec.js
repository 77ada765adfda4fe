/**
 * The codec `taco.v1+json`: one JSON object a line, each with exactly one key, its type (PROTOCOL.md §2–§4). Pure.
 *
 * A frame in memory is `{type, ...fields}`; fields that this version doesn't know are left out. Ids have 63 bits and are
 * strings everywhere: a JavaScript number would round them.
 *
 * @typedef {object} Push
 * @property {string} id
 * @property {"notification" | "passthrough"} kind
 * @property {string | null} title
 * @property {string | null} body
 * @property {Record<string, unknown> | null} data
 * @property {string | null} collapse
 * @property {"urgent" | "high" | "normal" | "low"} priority
 * @property {number} sent      Unix milliseconds of the server's clock
 * @property {number} expires   Unix milliseconds of the server's clock
 * @property {boolean} again    an earlier write was tried, or nobody knows
 * @property {boolean} via_vendor  a vendor's system has already shown it: take the data, show nothing
 */

/** @typedef {{type: string} & Record<string, any>} Frame */

export const SUBPROTOCOL = "taco.v1+json";
export const VERSION = 1;

/** The message is not a sequence of `taco.v1` frames. The text names what is wrong and where. */
export class FrameError extends Error {
  name = "FrameError";
}

const ID = /^[1-9][0-9]{0,18}$/;
const MAX_ID = "9223372036854775807";

/** Whether a value is an id as the wire has it: 1 to 2^63-1 as decimal text. @param {unknown} value */
export function isId(value) {
  // Equal lengths compare as numbers do.
  return typeof value === "string" && ID.test(value) && (value.length < MAX_ID.length || value <= MAX_ID);
}

const isText = (value) => typeof value === "string";
const isBoolean = (value) => typeof value === "boolean";
const isNumber = (value) => Number.isSafeInteger(value) && value >= 0; // times: up to 2^53-1
const isShort = (value) => isNumber(value) && value < 2 ** 32;
const isPositive = (value) => isShort(value) && value > 0;
const isFactor = (value) => Number.isFinite(value) && value >= 1;
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const isTexts = (value) => Array.isArray(value) && value.every(isText);
const isAny = () => true;

const needed = (check) => ({ check, needed: true });
const optional = (check, otherwise = null) => ({ check, otherwise });
const nested = (fields) => ({ fields });

/** The frames that a server sends, field by field: a check, and what stands for a field that isn't there. */
const SERVER_FRAMES = {
  welcome: {
    version: needed(isPositive),
    session: optional(isText, ""),
    time: optional(isNumber, 0),
    heartbeat: nested({
      min: optional(isShort, 60),
      max: optional(isShort, 600),
      grace: optional(isFactor, 1.5),
      next: optional(isPositive, 240),
    }),
    window: optional(isShort, 32),
    max_frame: optional(isShort, 65_536),
    reconnect: nested({
      base_ms: optional(isShort, 500),
      max_ms: optional(isShort, 60_000),
      factor: optional(isFactor, 2),
    }),
    pending: optional(isShort, 0),
    features: optional(isTexts, []),
  },
  push: {
    id: needed(isId),
    kind: optional(isText, "notification"),
    title: optional(isText),
    body: optional(isText),
    data: optional(isObject),
    collapse: optional(isText),
    priority: optional(isText, "normal"),
    sent: optional(isNumber, 0),
    expires: optional(isNumber, 0),
    again: optional(isBoolean, false),
    via_vendor: optional(isBoolean, false),
  },
  recall: { id: needed(isId) },
  pong: { time: optional(isNumber, 0), next: optional(isPositive) },
  reply: { id: needed((value) => isNumber(value) && value > 0), status: optional(isShort, 0), body: optional(isAny) },
  config: { key: needed(isText), version: optional(isNumber, 0), value: optional(isAny) },
  migrate: {
    urls: optional(isTexts, []),
    after_ms: optional(isShort, 0),
    spread_ms: optional(isShort, 0),
    permanent: optional(isBoolean, false),
  },
  error: { code: needed(isText), message: optional(isText, ""), retry: optional(isBoolean, false) },
  bye: { code: needed(isPositive), reason: optional(isText, ""), retry_after_ms: optional(isShort, 0) },
};

/**
 * The frames of one WebSocket message from a server. An unknown type becomes `{type: "unknown", name}`; a push whose id can
 * be read but whose other fields can't becomes `{type: "undecodable", id, why}`, so that the server can be told.
 *
 * @param {unknown} text anything but a string is refused
 * @returns {Frame[]}
 * @throws {FrameError}
 */
export function decodeServer(text) {
  if (typeof text !== "string") throw new FrameError("a binary message; taco.v1+json is text");
  const frames = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() !== "") frames.push(decodeLine(line, index + 1));
  }
  if (frames.length === 0) throw new FrameError("an empty message");
  return frames;
}

function decodeLine(line, number) {
  let value;
  try {
    value = JSON.parse(line);
  } catch {
    throw new FrameError(`line ${number}: not JSON`);
  }
  const names = isObject(value) ? Object.keys(value) : [];
  if (names.length !== 1) throw new FrameError(`line ${number}: a frame is an object with exactly one key, its type`);
  const [name] = names;
  const fields = Object.hasOwn(SERVER_FRAMES, name) ? SERVER_FRAMES[name] : null;
  if (fields === null) return { type: "unknown", name };
  try {
    return { type: name, ...readFields(value[name], fields, name) };
  } catch (error) {
    if (!(error instanceof FrameError)) throw error;
    if (name === "push" && isId(value.push?.id)) return { type: "undecodable", id: value.push.id, why: error.message };
    throw new FrameError(`line ${number}: ${error.message}`);
  }
}

function readFields(value, fields, path) {
  if (!isObject(value)) throw new FrameError(`${path} is not an object`);
  const read = {};
  for (const [name, field] of Object.entries(fields)) {
    const given = value[name];
    if (field.fields) {
      read[name] = readFields(given ?? {}, field.fields, `${path}.${name}`);
    } else if (isAbsent(given, field)) {
      if (field.needed) throw new FrameError(`${path}.${name} is missing`);
      read[name] = field.otherwise;
    } else if (field.check(given)) {
      read[name] = given;
    } else {
      throw new FrameError(`${path}.${name} has a wrong type or value`);
    }
  }
  return read;
}

function isAbsent(given, field) {
  // An empty text counts as absent: the protobuf codec can't tell them apart, and both give the same frame.
  return given === undefined || given === null || (given === "" && field.check === isText);
}

/**
 * One WebSocket message holding all frames, in order. Fields that are undefined or null are left out.
 *
 * @param {Frame[]} frames
 * @returns {string}
 */
export function encode(frames) {
  return frames.map(encodeFrame).join("\n");
}

function encodeFrame({ type, ...fields }) {
  const present = Object.entries(fields).filter(([, value]) => value !== undefined && value !== null);
  return JSON.stringify({ [type]: Object.fromEntries(present) });
}
