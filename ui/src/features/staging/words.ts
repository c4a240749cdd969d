/** Figures of a staging run in words: how much faster or slower, within or beyond what is tolerated, and how sure that is. */
import type { Schemas } from "../../api/client";
import { perSecond } from "../../lib/format";

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

type Held = Pick<Schemas["LoadView"], "knee_rps" | "target_rps"> & { steps: { target_rps: number }[] };

/** How much load it holds. Without a knee it held not even the first step; where the last one was held there may be more. */
export function held({ knee_rps: knee, target_rps: target, steps }: Held): string {
  if (knee === null) return `It does not hold even ${perSecond(steps[0]?.target_rps)}.`;
  if (knee >= (steps.at(-1)?.target_rps ?? 0))
    return `It kept up with everything that was sent, up to ${perSecond(knee)}.`;
  return `It bends at about ${perSecond(knee)}${knee < target ? `, below the ${perSecond(target)} it must hold` : ""}.`;
}
