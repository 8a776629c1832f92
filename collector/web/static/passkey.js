// A form whose passkey the browser makes or signs with: what it is given stands in the form, what it answers goes there.
for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.hidden = !window.PublicKeyCredential?.parseRequestOptionsFromJSON;
  form.addEventListener("submit", async (event) => {
    if (form.elements.answer.value) return;
    event.preventDefault();
    const given = JSON.parse(form.dataset.options);
    try {
      const credential = form.dataset.passkey === "add"
        ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(given) })
        : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(given) });
      form.elements.answer.value = JSON.stringify(credential);
      form.requestSubmit();
    } catch { /* the reader changed their mind: the form stays */ }
  });
}
