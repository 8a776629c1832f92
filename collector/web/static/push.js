// Messages on this device (Push API): the browser is asked, what it gives goes into the form.
const form = document.querySelector("form[data-push]"), none = document.querySelector("[data-push-none]");
const can = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;
form.hidden = !can;
none.hidden = can;

const say = (why) => form.querySelectorAll("[data-why]").forEach((one) => { one.hidden = one.dataset.why !== why; });

async function subscription() {
  // The worker of the operator's page serves every page: a scope is what it answers for, not who it shows messages to.
  const registration = await navigator.serviceWorker.register("/worker.js", { scope: "/mine" });
  await active(registration);
  await (await registration.pushManager.getSubscription())?.unsubscribe(); // perhaps of another key
  return registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: form.dataset.push });
}

function active(registration) {
  if (registration.active) return null;
  return new Promise((done) => {
    const coming = registration.installing ?? registration.waiting;
    coming.addEventListener("statechange", () => { if (coming.state === "activated") done(); });
  });
}

form.addEventListener("submit", async (event) => {
  if (form.elements.answer.value) return;
  event.preventDefault();
  say("");
  if (await Notification.requestPermission() !== "granted") { say("denied"); return; }
  try {
    form.elements.answer.value = JSON.stringify(await subscription());
    form.requestSubmit();
  } catch { say("away"); } // the push service of the browser cannot be reached, or is turned off
});
