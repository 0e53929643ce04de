"use strict";
// Asks whether the hub answers again, and only then for the page's own address: a page that loads every few seconds would be
// read out every few seconds.
setInterval(async () => {
  const answer = await fetch("api/", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) {
    location.reload();
  }
}, 5000);
