/** The form that sends a push, the curl line beside it, and what the API says of it, at the field that it names. */

import { ApiError } from "./api.js";
import { byId, copies, element, setText } from "./dom.js";
import { FieldError, toCurl, toMessage } from "./request.js";

const FIELDS = ["title", "body", "device", "ttl", "collapse", "channels", "data"];

export class Sender {
  #api;
  #form = byId("send-form");
  #onSent;
  #device = "";

  /** @param {import("./api.js").Api} api @param {(id: string, message: object) => void} onSent */
  constructor(api, onSent) {
    this.#api = api;
    this.#onSent = onSent;
    for (const field of this.#form.querySelectorAll(".field")) {
      field.append(element("p", { className: "field-error", id: `error-${field.dataset.field}`, hidden: true }));
      for (const input of controls(field)) input.setAttribute("aria-describedby", `error-${field.dataset.field}`);
    }
    this.#form.addEventListener("input", () => this.#showCurl());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    copies(byId("copy-curl"), () => byId("curl").textContent);
  }

  /** This page's device: the target, unless somebody wrote another. */
  setDevice(device) {
    const input = this.#form.elements.device;
    if (input.value === this.#device) input.value = device;
    this.#device = device;
    this.#showCurl();
  }

  #fields() {
    const { elements } = this.#form;
    return { ...Object.fromEntries(FIELDS.map((name) => [name, elements[name].value])), priority: elements.priority.value };
  }

  #showCurl() {
    this.#clear();
    try {
      setText(byId("curl"), toCurl(location.origin, toMessage(this.#fields())));
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      // Somebody is still writing; the last line that could be sent stays.
    }
  }

  async #send() {
    const button = byId("send-button");
    if (button.disabled) return;
    this.#clear();
    button.disabled = true;
    try {
      const message = toMessage(this.#fields());
      const { id } = await this.#api.send(JSON.stringify(message));
      this.#onSent(id, message);
      this.#say("good", element("span", {}, "202 accepted "), element("code", {}, id));
    } catch (error) {
      this.#refused(error);
    } finally {
      button.disabled = false;
    }
  }

  #refused(error) {
    if (!(error instanceof FieldError) && !(error instanceof ApiError)) {
      this.#say("bad", "No answer: the API can't be reached. Whether the push was accepted is unknown.");
      return;
    }
    const code = error instanceof ApiError ? `${error.status} ${error.code}: ` : "";
    // `target.device` is under `target`; `data.order` under `data`.
    const field = error.field && this.#form.querySelector(`.field[data-field="${CSS.escape(error.field.split(/[.[]/)[0])}"]`);
    if (!field) {
      this.#say("bad", `${code}${error.message}`);
      return;
    }
    const place = field.querySelector(".field-error");
    setText(place, error.message);
    place.hidden = false;
    const inputs = controls(field);
    for (const input of inputs) input.setAttribute("aria-invalid", "true");
    inputs[0].focus();
    this.#say("bad", `${code || "Not sent: "}see ${field.querySelector("label, legend").firstChild.textContent.trim()}.`);
  }

  #say(tone, ...parts) {
    const result = byId("send-result");
    result.dataset.tone = tone;
    result.replaceChildren(...parts);
  }

  #clear() {
    byId("send-result").replaceChildren();
    for (const place of this.#form.querySelectorAll(".field-error")) place.hidden = true;
    for (const input of this.#form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  }
}

function controls(field) {
  return [...field.querySelectorAll("input, textarea, select")];
}
