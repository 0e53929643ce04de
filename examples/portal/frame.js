// The page with a notebook in a frame: asks its own back end for links, and shows what hublatch's pages in the frame say.
import { showNotebook } from "./hublatch-embed.js";

const frame = document.querySelector("iframe");
const said = document.querySelector("output");
const tell = (text) => said.append(`${text}\n`);
const post = (path) => fetch(path, { method: "POST" });

const newLink = async (reason) => {
  tell(`The page asks for a link: ${reason}`);
  const answer = await post("/frame/link");
  return answer.ok ? answer.json() : null;
};

showNotebook(frame, frame.dataset.hub, newLink, ({ hublatch, reason }) => tell(`The frame says: ${hublatch}, ${reason}`));

document.querySelector("#end").addEventListener("click", async () => {
  await post("/frame/end");
  // A notebook that is open cannot tell; the next page in the frame can.
  frame.src = `${frame.dataset.hub}/hub/home`;
});
