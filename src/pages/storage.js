"use strict";
// Before a login in a frame of another site: tests whether the browser keeps cookies and storage here. If it does, the address
// is asked for again, and the login goes on; if not, the page says so, here and to the page around the frame.
const ATTRIBUTES = COOKIE;
const button = document.getElementById("continue");
const tab = document.getElementById("tab");

const keeps = () => {
  const name = "hublatch-test";
  try {
    localStorage.setItem(name, "1");
    localStorage.removeItem(name);
    document.cookie = `${name}=1; Path=/${ATTRIBUTES}`;
    const kept = document.cookie.includes(`${name}=1`);
    document.cookie = `${name}=; Path=/; Max-Age=0${ATTRIBUTES}`;
    return kept;
  } catch {
    return false; // a browser that blocks storage throws
  }
};

const goOn = () => {
  document.body.hidden = true;
  location.replace(location.pathname + location.search);
};

// Nothing is left but a tab of its own.
const giveUp = () => {
  button.hidden = true;
  tab.className = "button";
};

const ask = async (event) => {
  event.preventDefault();
  await document.requestStorageAccess().catch(() => {});
  if (keeps()) {
    goOn();
  } else {
    giveUp();
    tab.focus();
  }
};

if (keeps()) {
  goOn();
} else {
  // No leave brings a cookie of SameSite=Lax into a frame.
  if (document.requestStorageAccess && ATTRIBUTES.includes("SameSite=None")) {
    button.addEventListener("click", ask);
  } else {
    giveUp();
  }
  for (const origin of ORIGINS) {
    parent.postMessage(MESSAGE, origin);
  }
}
