/** The states of a message as the page shows them: what is open, what has ended, and the funnel. Pure. */

const RANK = { accepted: 0, sending: 0, waiting: 0, vendor: 0, delivered: 1, displayed: 2, clicked: 3 };
const ENDED = ["expired", "recalled", "undeliverable"];

/** Still on its way to the device. */
export const isOpen = (state) => RANK[state] === 0;
/** Nothing moves it any more. */
export const isSettled = (state) => state === "clicked" || ENDED.includes(state);
/** Whether a recall can do something: stop it, or take it off a screen. */
export const isRecallable = (state, recalledAt) => !ENDED.includes(state) && !recalledAt;

/**
 * How many messages came how far. `accepted` counts all; `under_way` and `ended` are where the others are now; from
 * `delivered` on each stage holds those that went further, too.
 *
 * @param {Iterable<string>} states
 */
export function funnel(states) {
  const counts = { accepted: 0, under_way: 0, delivered: 0, displayed: 0, clicked: 0, ended: 0 };
  const details = {};
  for (const state of states) {
    counts.accepted += 1;
    if (isOpen(state)) counts.under_way += 1;
    if (ENDED.includes(state)) counts.ended += 1;
    if (isOpen(state) || ENDED.includes(state)) details[state] = (details[state] ?? 0) + 1;
    const rank = RANK[state] ?? 0;
    if (rank >= 1) counts.delivered += 1;
    if (rank >= 2) counts.displayed += 1;
    if (rank >= 3) counts.clicked += 1;
  }
  const list = (names) => names.filter((name) => details[name]).map((name) => `${details[name]} ${name}`).join(" · ");
  return [
    { stage: "accepted", label: "Accepted", count: counts.accepted, detail: "" },
    { stage: "under_way", label: "Under way", count: counts.under_way, detail: list(["accepted", "sending", "waiting", "vendor"]) },
    { stage: "delivered", label: "Delivered", count: counts.delivered, detail: "" },
    { stage: "displayed", label: "Displayed", count: counts.displayed, detail: "" },
    { stage: "clicked", label: "Clicked", count: counts.clicked, detail: "" },
    { stage: "ended", label: "Ended", count: counts.ended, detail: list(ENDED) },
  ];
}
