// Passkeys at the door: asks the authenticator, and sends what it gave. Without it one signs in by
// password and code.

const button = document.querySelector('[data-passkey]');
const said = document.querySelector('[data-said]');

async function post(path, body) {
  const answer = await fetch(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const json = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(json.detail);
  return json;
}

async function enter() {
  const { passkey, next, notice } = button.dataset;
  const agreed = document.querySelector('#agreed');
  if (agreed && !agreed.checked) {
    agreed.reportValidity();
    return;
  }
  button.disabled = true;
  said.textContent = '';
  try {
    const { publicKey } = await post(`${passkey}/options`, {});
    const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey);
    const credential = await navigator.credentials.get({ publicKey: options });
    const body = { credential: credential.toJSON() };
    if (notice) body.notice = notice;
    await post(passkey, body);
    // Past what the form asks for: the session is proven, and the form carries what is to be done.
    if ('submit' in button.dataset) button.form.submit();
    else location.assign(next);
  } catch (error) {
    said.textContent = `The passkey did not work: ${error.message}`;
    button.disabled = false;
  }
}

if (button && window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  button.hidden = false;
  button.addEventListener('click', enter);
}
