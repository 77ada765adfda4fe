/** The table of messages and the funnel over them. Rows and bars stay the same elements, so that focus and animations hold. */

import { ageSince } from "./age.js";
import { byId, copyableId, element, setText } from "./dom.js";
import { funnel, isRecallable } from "./states.js";

export class MessageTable {
  #rows = new Map();
  #stages = new Map();
  #onRecall;

  /** @param {(id: string) => Promise<void>} onRecall */
  constructor(onRecall) {
    this.#onRecall = onRecall;
    for (const { stage, label } of funnel([])) {
      const parts = {
        count: element("span", { className: "stage-count" }, "0"),
        bar: element("span", { className: "bar-fill" }),
        detail: element("span", { className: "quiet small stage-detail" }),
      };
      this.#stages.set(stage, parts);
      byId("funnel").append(
        element(
          "li",
          { dataset: { stage } },
          parts.count,
          element("span", { className: "stage-label" }, label),
          element("span", { className: "bar", "aria-hidden": "true" }, parts.bar),
          parts.detail,
        ),
      );
    }
  }

  /** @param {object[]} messages newest first */
  show(messages) {
    this.#showFunnel(messages);
    byId("message-table").hidden = messages.length === 0;
    byId("messages-empty").hidden = messages.length > 0;
    setText(byId("message-count"), messages.length > 0 ? String(messages.length) : "");
    const kept = new Set(messages.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (kept.has(id)) continue;
      row.node.remove();
      this.#rows.delete(id);
    }
    // Oldest first, each new one on top of the last: rows that are there are never moved.
    for (const message of [...messages].reverse()) {
      let row = this.#rows.get(message.id);
      if (row === undefined) {
        row = this.#makeRow(message);
        this.#rows.set(message.id, row);
        byId("messages").prepend(row.node);
      }
      fill(row, message);
    }
  }

  #showFunnel(messages) {
    for (const { stage, count, detail } of funnel(messages.map(({ state }) => state))) {
      const parts = this.#stages.get(stage);
      setText(parts.count, String(count));
      setText(parts.detail, detail);
      parts.bar.style.inlineSize = `${messages.length === 0 ? 0 : (100 * count) / messages.length}%`;
    }
  }

  #makeRow({ id, title, priority, target, sent }) {
    const state = element("span", { className: "state" });
    const reason = element("span", { className: "quiet small reason" });
    const device = element("span", { role: "cell", className: "cell-device", title: target }, target);
    const recall = element("button", { type: "button", className: "button small", "aria-label": `Recall ${title ?? id}` }, "Recall");
    recall.addEventListener("click", async () => {
      recall.disabled = true;
      try {
        await this.#onRecall(id);
      } catch (error) {
        setText(reason, error.message);
        recall.disabled = false;
      }
    });
    const node = element(
      "div",
      { className: "message-row", role: "row", dataset: { id, state: "", testid: "message-row" } },
      element("span", { role: "cell", className: "cell-state" }, state, reason),
      element(
        "span",
        { role: "cell", className: "cell-message" },
        element(
          "span",
          { className: "cell-title" },
          priority === "normal" ? null : element("span", { className: "priority", dataset: { priority } }, priority),
          element("span", { className: "title-text", title: title ?? "" }, title ?? "no title"),
        ),
        copyableId(id),
      ),
      device,
      element("span", { role: "cell", className: "cell-age" }, ageSince(sent)),
      element("span", { role: "cell", className: "cell-recall" }, recall),
    );
    return { node, state, reason, recall, device };
  }
}

function fill(row, { state, reason, recalledAt, channel, target }) {
  row.node.dataset.state = state;
  if (recalledAt) row.node.dataset.recalled = "yes";
  setText(row.state, state);
  const notes = [reason, recalledAt && state !== "recalled" ? "recalled" : null, channel && channel !== "long" ? `via ${channel}` : null];
  setText(row.reason, notes.filter(Boolean).join(" · ").replaceAll("_", " "));
  setText(row.device, target);
  row.recall.hidden = !isRecallable(state, recalledAt);
}
