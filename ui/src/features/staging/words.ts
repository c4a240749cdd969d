/** Figures of a staging run in words: how much faster or slower, within or beyond what is tolerated, and how sure that is. */
import type { Schemas } from "../../api/client";

export function compared(
  row: Pick<Schemas["RequestComparisonView"], "ratio" | "low" | "high">,
  tolerance: number,
): string {
  const change = Math.round(100 * (row.ratio - 1));
  const range = `between ${signed(row.low)} and ${signed(row.high)}`;
  if (change === 0) return `About the same (${range}).`;
  const words = change > 0 ? `${change} % slower` : `${-change} % faster`;
  if (change <= 0) return `${words} (${range}).`;
  return `${words}, ${100 * (row.low - 1) > tolerance ? "beyond" : "within"} the ${tolerance} % that are tolerated (${range}).`;
}

/** `tests.smoke.test_smoke::test_it_is_healthy` is a sentence already; everything else stays as it is. */
export function caseName(name: string): string {
  const sentence = /::test_(\w+?)(\[.*\])?$/.exec(name);
  return sentence ? [sentence[1]?.replaceAll("_", " "), sentence[2]].filter(Boolean).join(" ") : name;
}

function signed(ratio: number): string {
  const change = Math.round(100 * (ratio - 1));
  return `${change > 0 ? "+" : change < 0 ? "−" : "±"}${Math.abs(change)} %`;
}

export function passedOf(suite: Pick<Schemas["SuiteView"], "passed" | "decided">): string {
  return suite.decided ? `${suite.passed} of ${suite.decided} passed` : "";
}
