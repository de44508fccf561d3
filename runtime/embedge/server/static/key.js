// The field for an API key, which shows when the server answers 401.

import { keys, storedKey, storeKey } from "./api.js";
import { byId, say } from "./dom.js";

/** Shows the field when a key is needed; calls `onKey` when one was given. */
export function startKey(onKey) {
  const form = byId("key");
  const field = byId("key-field");
  keys.addEventListener("needed", () => {
    say(byId("key-error"), storedKey() ? "The server does not know this key." : "");
    if (form.hidden) {
      form.hidden = false;
      field.focus();
    }
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    storeKey(field.value.trim());
    form.hidden = true;
    byId("main").focus();
    onKey();
  });
}
