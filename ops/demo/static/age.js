/** Ages that tick: `<time>` elements with the moment they count from. */

import { element, setText } from "./dom.js";

/** @param {number} ms */
export function formatAge(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {number} at Unix milliseconds */
export function ageSince(at) {
  const when = new Date(at);
  return element(
    "time",
    { className: "age", dateTime: when.toISOString(), title: when.toLocaleString(), dataset: { at: String(at) } },
    formatAge(Date.now() - at),
  );
}

/** Renew every age on the page, each second while somebody may look. */
export function tickAges() {
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    for (const time of document.querySelectorAll("time.age")) setText(time, formatAge(now - Number(time.dataset.at)));
  }, 1_000);
}
