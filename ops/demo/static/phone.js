/** The phone: its connection, its name, and the pushes on its screen. The device itself is the JavaScript client. */

import { Client } from "/demo/sdk/index.js";

import { ageSince, formatAge } from "./age.js";
import { byId, copyableId, element, setText } from "./dom.js";
import { Notifications } from "./notifications.js";

export class Phone {
  #options;
  #client = null;
  #notifications = null;
  #cards = new Map();
  #retryAt = null;

  /**
   * @param {object} options
   * @param {string} options.app
   * @param {string} options.gateway
   * @param {(device: string) => Promise<string>} options.token
   * @param {(push: object) => void} options.onPush
   * @param {() => void} options.onActivity something was reported that may move a state
   * @param {(device: string) => Promise<boolean>} options.onSwitch another name was entered; false: it can't be had
   */
  constructor(options) {
    this.#options = options;
    byId("toggle-connection").addEventListener("click", () => this.#toggle());
    byId("device-id").addEventListener("input", () => this.#showApply());
    byId("device-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#switch();
    });
    addEventListener("online", () => this.#client?.wake());
    document.addEventListener("visibilitychange", () => {
      this.#client?.setState(document.hidden ? "background" : "foreground");
    });
    setInterval(() => this.#showRetry(), 250);
  }

  /** Be this device, from now on. */
  use(device) {
    this.#client?.stop();
    byId("device-id").value = device;
    this.#showApply();
    this.#notifications = new Notifications(device);
    this.#cards.clear();
    byId("pushes").replaceChildren();
    for (const notification of this.#notifications.all) this.#show(notification);
    this.#showEmpty();
    this.#client = new Client({
      url: this.#options.gateway,
      app: this.#options.app,
      device,
      token: () => this.#options.token(device),
      state: document.hidden ? "background" : "foreground",
      network: "browser",
      onPush: (push) => this.#take(push),
      onRecall: (id) => this.#recalled(id),
      onStatus: (status) => this.#showStatus(status),
      onError: ({ kind, error }) => console.warn(`taco: ${kind}`, error),
    });
    this.#client.start();
  }

  #toggle() {
    const { state } = this.#client.status;
    if (state === "offline" || state === "stopped") this.#client.start();
    else this.#client.stop();
  }

  async #switch() {
    const input = byId("device-id");
    const device = input.value.trim();
    if (device === "" || device === this.#options.device()) return;
    if (await this.#options.onSwitch(device)) return;
    input.setCustomValidity("Another tab of this browser is this device.");
    input.reportValidity();
  }

  #showApply() {
    byId("device-id").setCustomValidity("");
    byId("device-apply").hidden = byId("device-id").value.trim() === this.#options.device();
  }

  // ── pushes ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #take(push) {
    this.#show(this.#notifications.add(push));
    this.#showEmpty();
    this.#options.onPush(push);
  }

  #recalled(id) {
    if (this.#notifications.mark(id, "recalled")) this.#mark(id);
    this.#options.onActivity();
  }

  #report(id, status) {
    this.#client[status](id);
    this.#notifications.mark(id, status);
    this.#mark(id);
    this.#options.onActivity();
  }

  #show(notification) {
    const { push } = notification;
    const button = (status, label) =>
      element("button", { type: "button", className: "button small", dataset: { report: status }, onclick: () => this.#report(push.id, status) }, label);
    const card = element(
      "li",
      { className: "push", dataset: { id: push.id, testid: "push", priority: push.priority } },
      element(
        "div",
        { className: "push-head" },
        element("span", { className: "priority", dataset: { priority: push.priority } }, push.priority),
        push.kind === "passthrough" ? element("span", { className: "mark" }, "passthrough") : null,
        push.again ? element("span", { className: "mark", title: "An earlier write was tried, or nobody knows" }, "again") : null,
        push.via_vendor ? element("span", { className: "mark", title: "A vendor's system has shown it already" }, "via vendor") : null,
        element("span", { className: "mark recalled-mark" }, "recalled"),
        ageSince(push.sent || Date.now()),
      ),
      push.title ? element("h3", {}, push.title) : null,
      push.body ? element("p", { className: "push-body" }, push.body) : null,
      push.data ? element("pre", { className: "push-data mono", tabIndex: 0 }, formatData(push.data)) : null,
      element("div", { className: "push-foot" }, copyableId(push.id), element("span", { className: "reports" }, button("displayed", "Displayed"), button("clicked", "Clicked"))),
    );
    this.#cards.set(push.id, { card, notification });
    byId("pushes").prepend(card);
    this.#mark(push.id);
  }

  #mark(id) {
    const known = this.#cards.get(id);
    if (known === undefined) return;
    const { card, notification } = known;
    if (notification.recalled) card.dataset.recalled = "yes";
    for (const button of card.querySelectorAll("[data-report]")) {
      // Clicked implies displayed: a state never goes back.
      button.disabled = notification[button.dataset.report] || (button.dataset.report === "displayed" && notification.clicked);
      button.setAttribute("aria-pressed", String(notification[button.dataset.report]));
    }
  }

  #showEmpty() {
    byId("pushes-empty").hidden = this.#cards.size > 0;
  }

  // ── connection ────────────────────────────────────────────────────────────────────────────────────────────────────

  #showStatus({ state, code, reason, retryMs }) {
    byId("connection-state").dataset.state = state;
    byId("connection-dot").dataset.state = state;
    byId("screen").dataset.state = state;
    this.#retryAt = state === "waiting" ? Date.now() + retryMs : null;
    const names = { offline: "Offline", connecting: "Connecting…", online: "Online", stopped: "Stopped by the server" };
    if (state === "waiting") this.#showRetry();
    else setText(byId("connection-state"), names[state]);
    const close = [code === null ? null : `last close ${code}`, reason].filter(Boolean).join(" · ");
    setText(byId("last-close"), close);
    setText(byId("toggle-connection"), state === "offline" || state === "stopped" ? "Go online" : "Go offline");
  }

  #showRetry() {
    if (this.#retryAt === null) return;
    setText(byId("connection-state"), `Reconnecting in ${formatAge(this.#retryAt - Date.now() + 999)}`);
  }
}

/** A line a field: short, and nothing is left out. */
function formatData(data) {
  return Object.entries(data)
    .map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`)
    .join("\n");
}
