"use strict";
// Shows what the hub tells of the start. Whatever is to be shown in its place (the server itself, a failure), the server
// decides: this script only asks for the page again.
const bar = document.getElementById("bar");
const state = document.getElementById("state");
const log = document.getElementById("log");
const events = new EventSource(document.getElementById("launch").dataset.events);
let last = state.textContent;

// The time of the wait: from the first time that this tab has shown the page, also when it has been loaded again since.
const elapsed = document.getElementById("elapsed");
const key = `waiting ${location.pathname}`;
const begun = Number(sessionStorage.getItem(key)) || Date.now();
sessionStorage.setItem(key, begun);
const tick = () => {
  const seconds = Math.max(0, Math.floor((Date.now() - begun) / 1000));
  elapsed.lastElementChild.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
};
tick();
setInterval(tick, 1000);
elapsed.hidden = false;
log.hidden = false;

const again = (delay) => {
  events.close();
  setTimeout(() => location.reload(), delay);
};

events.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (typeof event.progress === "number" && event.progress >= bar.value) {
    bar.value = event.progress;
  }
  if (event.message && event.message !== last) {
    last = event.message;
    state.textContent = last;
    const line = document.createElement("li");
    line.textContent = last;
    line.dir = "auto";
    log.append(line);
    log.scrollTop = log.scrollHeight;
  }
  if (event.ready || event.failed) {
    again(0);
  }
};

// A lost connection is made again by the browser; one that is refused is not, and the page can say why.
events.onerror = () => {
  if (events.readyState === EventSource.CLOSED) {
    again(3000);
  }
};
