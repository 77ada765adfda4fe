/** Which device this tab is: a random name, kept for the tab, and never the name of another open tab. */

const KEY = "taco-demo-device";
const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";

function randomDevice() {
  const bytes = crypto.getRandomValues(new Uint8Array(6));
  return `web-${Array.from(bytes, (byte) => LETTERS[byte % LETTERS.length]).join("")}`;
}

let release = () => {};

/**
 * Take a name for this tab. A duplicated tab copies its storage, and two tabs with one name would push each other out for
 * ever, since a device has one live connection.
 *
 * @returns {Promise<boolean>} false: another tab has it
 */
export function claim(device) {
  return new Promise((resolve) => {
    const keep = (lock) => {
      if (lock === null) {
        resolve(false);
        return undefined;
      }
      release();
      sessionStorage.setItem(KEY, device);
      resolve(true);
      return new Promise((done) => {
        release = done;
      });
    };
    if (navigator.locks) navigator.locks.request(`${KEY}:${device}`, { ifAvailable: true }, keep);
    else keep({});
  });
}

/**
 * The name that the printed address proposes, or the tab's from before a reload, or a new one: the first that no other tab has.
 *
 * @param {string | null} proposed
 */
export async function claimOwn(proposed) {
  for (const name of [proposed, sessionStorage.getItem(KEY)]) {
    if (name && (await claim(name))) return name;
  }
  const device = randomDevice();
  await claim(device);
  return device;
}
