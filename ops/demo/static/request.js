/** From the form's fields to the message, and to the same message as a curl line. Pure. */

/** A field whose text can't be a part of a message. */
export class FieldError extends Error {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/**
 * @param {Record<string, string>} fields as the form has them
 * @returns {object} the message; what was left empty is left out, so that the product's defaults hold
 * @throws {FieldError} when a text can't be read; what it means is the API's to judge
 */
export function toMessage({ device, title, body, priority, ttl, collapse, channels, data }) {
  const message = { target: { device } };
  if (title) message.title = title;
  if (body) message.body = body;
  if (priority !== "normal") message.priority = priority;
  if (ttl.trim()) message.ttl = wholeNumber(ttl.trim());
  if (collapse) message.collapse = collapse;
  if (channels !== "auto") message.channels = channels;
  if (data.trim()) message.data = parsed(data);
  return message;
}

function wholeNumber(text) {
  if (!/^-?[0-9]{1,15}$/.test(text)) throw new FieldError("ttl", "Seconds, as a whole number.");
  return Number(text);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new FieldError("data", 'A JSON object, such as {"order":9}.');
  }
}

/** @param {string} origin of the API @param {object} message */
export function toCurl(origin, message) {
  return [
    `curl -X POST ${origin}/v1/messages`,
    '-H "Authorization: Bearer $TACO_KEY"',
    '-H "Content-Type: application/json"',
    `-d ${shellQuoted(JSON.stringify(message))}`,
  ].join(" \\\n  ");
}

/** For POSIX shells: nothing within single quotes is special, but the single quote itself. */
function shellQuoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
