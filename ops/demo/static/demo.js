/** Puts the page together: the phone on one side; the form, the funnel and the table on the other. */

import { tickAges } from "./age.js";
import { Api, takeAddress } from "./api.js";
import { claim, claimOwn } from "./device.js";
import { byId, setText } from "./dom.js";
import { Ledger } from "./ledger.js";
import { Phone } from "./phone.js";
import { Sender } from "./sender.js";
import { MessageTable } from "./table.js";

function notice(text) {
  setText(byId("notice"), text ?? "");
  byId("notice").hidden = text === null;
}

async function start() {
  const { token, device: proposed } = takeAddress();
  if (token === null) {
    notice("Open this page by the address that taco up printed: its token is in there.");
    return;
  }
  const api = new Api(token);
  let config;
  try {
    config = await api.config();
  } catch (error) {
    notice(error.status ? error.message : "The API can't be reached. Is taco up still running?");
    return;
  }
  setText(byId("where"), `app ${config.app} · ${config.gateway}`);

  let device = await claimOwn(proposed);
  const table = new MessageTable((id) => ledger.recall(id));
  const ledger = new Ledger(
    api,
    (messages) => table.show(messages),
    (error) => notice(error === null ? null : error.status ? error.message : "The API can't be reached; trying again."),
  );
  const sender = new Sender(api, (id, message) => ledger.add(id, { ...message, target: message.target.device }));
  const phone = new Phone({
    ...config,
    device: () => device,
    token: (name) => api.deviceToken(name),
    onPush: ({ id, title, priority, sent }) => ledger.add(id, { title, priority, target: device, sent: sent || Date.now() }),
    onActivity: () => ledger.stir(),
    onSwitch: async (name) => {
      if (!(await claim(name))) return false;
      device = name;
      phone.use(name);
      sender.setDevice(name);
      return true;
    },
  });
  phone.use(device);
  sender.setDevice(device);
  byId("page").hidden = false;
  tickAges();
  // The printed address, entered again in this tab, brings another token.
  addEventListener("hashchange", () => location.reload());
  await ledger.load();
}

start();
