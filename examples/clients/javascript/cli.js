#!/usr/bin/env node
// HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... hublatch-client alice --path lab --launch

import { parseArgs } from "node:util";

import { Hublatch } from "./index.js";

async function main() {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      path: { type: "string" },
      server: { type: "string" },
      launch: { type: "boolean" },
      "ca-file": { type: "string" },
    },
  });
  const { "ca-file": caFile, ...order } = values;
  const latch = Hublatch.fromEnvironment({ caFile });
  if (!positionals[0]) throw new Error("name a user: hublatch-client USERNAME [--path P] [--server S] [--launch]");
  const link = await latch.link(positionals[0], order);
  console.log(link.url);
  if (!link.server) return;
  for await (const event of latch.progress(link)) {
    console.error(`${String(event.progress).padStart(3)} % ${event.message}`);
    if (event.failed) process.exitCode = 1;
  }
}

main().catch((error) => {
  console.error(`hublatch: ${error.message}`);
  process.exitCode = 1;
});
