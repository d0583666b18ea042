// Runs the client half of the conformance suite for both revisions, and compares with what is expected.
//
//     conformance.mjs INSTALLED SCRIPTS CLIENT
//
// A scenario counts as passed if it made checks and none failed. `conformance.json` says which ones have to, and which
// ones are not attempted, and why; a scenario of neither list fails the run, so that none is passed over in silence.
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const [installed, scripts, client] = process.argv.slice(2);
const suite = join(installed, "node/node_modules/@modelcontextprotocol/conformance/dist/index.js");
const lists = JSON.parse(readFileSync(join(scripts, "conformance.json"), "utf8"));
let broken = 0;

for (const [revision, { expected, notAttempted }] of Object.entries(lists)) {
  const out = join(installed, `conformance-${revision}`);
  rmSync(out, { recursive: true, force: true });
  const args = [suite, "client", "--command", client, "--requirements", revision, "-o", out];
  const { stdout, error } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 28 });
  if (error) throw error;

  const summary = stdout.slice(stdout.indexOf("=== SUITE SUMMARY ==="));
  const ran = new Map();
  for (const [, name, passed, failed] of summary.matchAll(/^. (\S+): (\d+) passed, (\d+) failed/gm)) {
    ran.set(name, { passed: Number(passed), failed: Number(failed) });
  }
  const names = new Set([...expected, ...ran.keys()]);
  const counts = { passed: 0, failed: 0, notAttempted: 0, checks: 0 };
  for (const name of names) {
    const { passed, failed } = ran.get(name) ?? { passed: 0, failed: 0 };
    const passes = passed > 0 && failed === 0;
    if (expected.includes(name) || passes) {
      counts.checks += passed;
      counts[passes ? "passed" : "failed"] += 1;
      if (passes && !expected.includes(name)) console.log(`     ${revision} ${name} passes and is not on the list`);
      else console.log(`${passes ? "ok  " : "FAIL"} ${revision} ${name}: ${passed} passed, ${failed} failed`);
    } else if (name in notAttempted) {
      counts.notAttempted += 1;
    } else {
      counts.failed += 1;
      console.log(`FAIL ${revision} ${name}: ${passed} passed, ${failed} failed, on neither list`);
    }
  }
  broken += counts.failed;
  console.log(
    `conformance ${revision}: ${counts.passed} scenarios passed with ${counts.checks} checks, ` +
      `${counts.failed} failed, ${counts.notAttempted} not attempted\n`,
  );
}
process.exitCode = broken === 0 ? 0 : 1;
