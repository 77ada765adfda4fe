/** The page's own routes under /demo/api, with the token of the printed address. */

const TOKEN = "taco-demo-token";
const TIMEOUT_MS = 10_000;

/** What the API answered in place of success. `field` is the path of the field at fault, or null. */
export class ApiError extends Error {
  constructor(status, { code, message, field }) {
    super(message);
    this.status = status;
    this.code = code;
    this.field = field ?? null;
  }
}

/**
 * What the printed address carries, `#token=…&device=…`. It is then taken out of the address bar, and so out of history and
 * screenshots; after a reload the token comes from the tab's storage.
 *
 * @returns {{token: string | null, device: string | null}} `device`: the name that the printed curl line pushes to
 */
export function takeAddress() {
  const address = new URLSearchParams(location.hash.slice(1));
  const token = address.get("token");
  if (token) {
    sessionStorage.setItem(TOKEN, token);
    history.replaceState(null, "", location.pathname);
  }
  return { token: sessionStorage.getItem(TOKEN), device: address.get("device") };
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  config() {
    return this.#request("GET", "config");
  }

  async deviceToken(device) {
    return (await this.#request("POST", "token", JSON.stringify({ device }))).token;
  }

  /** @param {string} body the message as JSON */
  send(body) {
    return this.#request("POST", "messages", body);
  }

  recall(id) {
    return this.#request("DELETE", `messages/${id}`);
  }

  /** Those of these ids, or without ids those sent last. @param {string[]} [ids] */
  async messages(ids = []) {
    const query = ids.length > 0 ? `?${new URLSearchParams(ids.map((id) => ["id", id]))}` : "";
    return (await this.#request("GET", `messages${query}`)).messages;
  }

  async #request(method, path, body) {
    const response = await fetch(`/demo/api/${path}`, {
      method,
      body,
      headers: { Authorization: `Bearer ${this.#token}`, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    let answer = null;
    try {
      answer = await response.json();
    } catch {
      // Not from the API: a proxy's page, or an end in the middle. The status says what is left to say.
    }
    if (response.ok && answer !== null) return answer;
    throw new ApiError(response.status, answer?.error ?? { code: "no_answer", message: `The answer was HTTP ${response.status}.` });
  }
}
