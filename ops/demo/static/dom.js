/** Elements by hand. Text goes in as text, never as HTML: pushes come from anybody. */

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] `dataset` and `on…` are understood; `aria-…`, `role` and `for` become attributes
 * @param {...(Node | string | null)} children
 */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "dataset") Object.assign(node.dataset, value);
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role" || name === "for") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

/** Change a text only if it differs, so that screen readers hear of changes alone. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A button that copies a text and says so for a moment. */
export function copies(button, text) {
  button.addEventListener("click", async () => {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text());
      button.dataset.copied = "yes";
      button.textContent = "Copied";
    } catch {
      // Without permission for the clipboard the text can still be selected by hand.
      button.textContent = "Not allowed";
    }
    setTimeout(() => {
      delete button.dataset.copied;
      button.textContent = before;
    }, 1_200);
  });
  return button;
}

/** An id, shown in full, copied by a click. */
export function copyableId(id) {
  const button = element("button", { type: "button", className: "id mono", title: "Copy this id", "aria-label": `Copy id ${id}` }, id);
  return copies(button, () => id);
}
