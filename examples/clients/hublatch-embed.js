// A notebook in a frame of your page that stays logged in: when its session has ended, or its link does not work, hublatch
// tells your page so, and your own back end is asked for a new link. For browsers; an ES module without dependencies.
//
//   import { showNotebook } from "./hublatch-embed.js";
//   const stop = showNotebook(document.querySelector("iframe"), "https://hub.example.org", async (reason) => {
//     const answer = await fetch("/notebook-link", { method: "POST" });   // your back end, which knows who is logged in
//     if (!answer.ok) return null;                                        // the frame stays as it is
//     return answer.json();                                               // { url, session_expires_in }, or the URL alone
//   });
//
// The operator lists your page's origin in `[embed] frame_ancestors`: nobody else is told anything.

// How long before its end a session is renewed, in seconds: nobody is to see its end.
const LEAD = 5;
const LONGEST_TIMEOUT = 2 ** 31 - 1;

// A frame that comes back for a link at once will do so again (cookies that the browser refuses it): it is left alone then.
const AT_MOST_EVERY = 10_000;

// `frame`: the iframe. `hub`: where the notebooks are (public.url). `newLink(reason)`: a link, by your back end. `onMessage`:
// is called with each message, `{ hublatch: "needs_link", "storage_blocked" or "page", reason: "session_ended" … }`; with
// "storage_blocked" the browser keeps no login in the frame, which says so and offers a tab. Returns what ends all this.
export function showNotebook(frame, hub, newLink, onMessage = () => {}) {
  const origin = new URL(hub).origin;
  let asking = false;
  let last = -Infinity;
  let timer;

  const open = async (reason) => {
    if (asking || performance.now() - last < AT_MOST_EVERY) {
      return;
    }
    asking = true;
    try {
      const answer = await newLink(reason);
      const { url, session_expires_in: seconds } = typeof answer === "string" ? { url: answer } : (answer ?? {});
      if (!url) {
        return;
      }
      if (new URL(url).origin !== origin) {
        throw new Error(`a link to ${new URL(url).origin}, not to ${origin}`);
      }
      last = performance.now();
      frame.src = url;
      clearTimeout(timer);
      if (seconds > 0) {
        // A notebook that is open cannot tell that its session is over: it is given a new one before that.
        const delay = Math.max(seconds - LEAD, seconds / 2) * 1000;
        timer = setTimeout(() => open("session_over"), Math.min(delay, LONGEST_TIMEOUT));
      }
    } finally {
      asking = false;
    }
  };

  const listen = ({ origin: from, source, data }) => {
    // Any page can send messages here: only hublatch's own, in this frame, count.
    if (from !== origin || source !== frame.contentWindow || typeof data?.hublatch !== "string") {
      return;
    }
    onMessage(data);
    if (data.hublatch === "needs_link") {
      open(data.reason);
    }
  };

  window.addEventListener("message", listen);
  open("first");
  return () => {
    window.removeEventListener("message", listen);
    clearTimeout(timer);
  };
}
