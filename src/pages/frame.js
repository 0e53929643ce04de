"use strict";
// Tells the page around the frame, if it is one of those that may show it, what is shown: with "needs_link" it can get a new
// link. Nobody else hears of it.
if (parent !== self) {
  for (const origin of ORIGINS) {
    parent.postMessage(MESSAGE, origin);
  }
}
