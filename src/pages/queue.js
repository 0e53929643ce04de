"use strict";
// Shows what is told of the queue, and asks for the page's own address when the turn has come: what is shown then, the
// server decides.
const queue = document.getElementById("queue").dataset;
const title = document.getElementById("title");
const what = document.getElementById("what");
const events = new EventSource(queue.events);

const again = (delay) => {
  events.close();
  setTimeout(() => location.replace(queue.address), delay);
};

const sentence = (seconds) => {
  if (seconds < 5) {
    return queue.soon;
  }
  return seconds > 90
    ? queue.minutes.replace("{minutes}", Math.ceil(seconds / 60))
    : queue.seconds.replace("{seconds}", Math.ceil(seconds / 5) * 5);
};

events.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.ready) {
    again(0);
    return;
  }
  title.textContent = queue.number.replace("{position}", event.position);
  what.textContent = event.down && queue.down ? queue.down : sentence(event.seconds);
};

// A lost connection is made again by the browser; one that is refused is not, and the page can say why.
events.onerror = () => {
  if (events.readyState === EventSource.CLOSED) {
    again(3000);
  }
};
