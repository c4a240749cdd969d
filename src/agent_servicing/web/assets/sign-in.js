// Signs this browser in: by the one-time token that follows # in the address, else by the form. The token is taken out of the address first.
const api = "/api/platform/session";
const words = document.getElementById("words");
const form = document.getElementById("form");
const setup = document.getElementById("setup");
const token = location.hash.slice(1);

async function signIn(body) {
  const answer = await fetch(api, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (answer.ok) {
    location.replace("/");
    return;
  }
  const problem = await answer.json();
  words.textContent = `${problem.detail} ${problem.hint}`;
  await show();
}

async function show() {
  const ways = await (await fetch(api)).json();
  if (ways.setup_needed) {
    setup.hidden = false;
    setup.querySelector("input").disabled = false;
    setup.querySelector("input").required = true;
  }
  document.getElementById("oidc").hidden = !ways.methods.includes("oidc");
  form.hidden = false;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(Object.fromEntries(new FormData(form)));
});

if (token) {
  history.replaceState(null, "", location.pathname);
  signIn({ sign_in_token: token });
} else {
  show();
}
