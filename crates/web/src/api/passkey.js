// Registers a passkey: asks the authenticator for one and sends it to blueteam.
"use strict";

const button = document.getElementById("add-passkey");
const name = document.getElementById("passkey-name");
const said = document.getElementById("passkey-said");

async function post(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const json = await answer.json();
  if (!answer.ok) {
    throw new Error(json.detail);
  }
  return json;
}

async function addPasskey() {
  button.disabled = true;
  try {
    const begun = await post("/api/v1/me/passkeys/options", {});
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(begun.publicKey);
    const credential = await navigator.credentials.create({ publicKey });
    await post("/api/v1/me/passkeys", { name: name.value, credential: credential.toJSON() });
    said.textContent = "The passkey is added.";
  } catch (error) {
    said.textContent = "The passkey is not added: " + error.message;
    button.disabled = false;
  }
}

if (typeof PublicKeyCredential === "undefined" ||
    typeof PublicKeyCredential.parseCreationOptionsFromJSON !== "function") {
  said.textContent = "This browser cannot add passkeys.";
  button.disabled = true;
} else {
  button.addEventListener("click", addPasskey);
}
