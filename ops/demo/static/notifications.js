/**
 * The pushes that this device has shown, over reloads of the tab: an acknowledged push never comes again, so whoever acknowledges
 * must keep it. At most 100 a device, the oldest goes.
 */

const LIMIT = 100;

export class Notifications {
  #key;
  /** @type {object[]} oldest first; `{push, recalled, displayed, clicked}` */
  #list;

  constructor(device) {
    this.#key = `taco-demo-pushes:${device}`;
    this.#list = read(this.#key);
  }

  /** Oldest first. */
  get all() {
    return this.#list;
  }

  add(push) {
    const notification = { push, recalled: false, displayed: false, clicked: false };
    this.#list.push(notification);
    this.#list.splice(0, this.#list.length - LIMIT);
    this.#save();
    return notification;
  }

  /** @param {"recalled" | "displayed" | "clicked"} mark @returns {object | undefined} the notification, if it is there */
  mark(id, mark) {
    const notification = this.#list.find(({ push }) => push.id === id);
    if (notification) {
      notification[mark] = true;
      this.#save();
    }
    return notification;
  }

  #save() {
    sessionStorage.setItem(this.#key, JSON.stringify(this.#list));
  }
}

function read(key) {
  try {
    const list = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    return Array.isArray(list) ? list : [];
  } catch {
    return [];
  }
}
