import { describe, expect, it } from "vitest";
import { type Concern, concerns, FIRST_MS, GAP_MS, Settler } from "./settle";

/** Time that stands still until it is moved. */
function pretended() {
  let now = 0;
  let next = 1;
  const waiting = new Map<number, { at: number; run: () => void }>();
  return {
    timers: {
      set: (run: () => void, ms: number) => {
        waiting.set(next, { at: now + ms, run });
        return next++;
      },
      clear: (timer: number) => void waiting.delete(timer),
      now: () => now,
    },
    pass: (ms: number) => {
      const end = now + ms;
      for (;;) {
        const due = [...waiting].filter(([, each]) => each.at <= end).sort((one, other) => one[1].at - other[1].at)[0];
        if (!due) break;
        now = due[1].at;
        waiting.delete(due[0]);
        due[1].run();
      }
      now = end;
    },
  };
}

function listening() {
  const asked: Concern[] = [];
  const time = pretended();
  const settler = new Settler((of) => void asked.push(of), time.timers);
  return { asked, settler, ...time };
}

describe("asking again after events", () => {
  it("happens soon after the first one, once for all that came", () => {
    const { asked, settler, pass } = listening();
    for (const agent of ["A", "B", "A"]) settler.heard(agent);
    pass(FIRST_MS - 1);
    expect(asked).toEqual([]);
    pass(1);
    expect(asked).toEqual([{ agents: new Set(["A", "B"]), everything: false }]);
    pass(60_000);
    expect(asked).toHaveLength(1);
  });

  it("happens once a second in a storm, and never waits for its end", () => {
    const { asked, settler, pass } = listening();
    for (let at = 0; at < 10_000; at += 10) {
      settler.heard(`Agent${at}`);
      pass(10);
    }
    expect(asked.length).toBeGreaterThanOrEqual(9);
    expect(asked.length).toBeLessThanOrEqual(1 + 10_000 / GAP_MS);
    pass(GAP_MS);
    expect(new Set(asked.flatMap((of) => [...of.agents])).size).toBe(1000);
  });

  it("stops with its page", () => {
    const { asked, settler, pass } = listening();
    settler.heard(null);
    settler.stop();
    pass(60_000);
    expect(asked).toEqual([]);
  });
});

describe("a question", () => {
  const of = (agent?: string) => ["get", "/somewhere", { params: { path: { agent_id: agent } } }];
  const one = { agents: new Set(["A"]), everything: false };
  it.each([
    ["about another agent is left alone", of("B"), one, false],
    ["about that agent is asked again", of("A"), one, true],
    ["about all agents is asked again", ["get", "/agents", { params: { query: { limit: 50 } } }], one, true],
    [
      "about anything is asked again after what concerns all",
      of("B"),
      { agents: new Set<string>(), everything: true },
      true,
    ],
    ["about oneself is left alone", ["me"], { agents: new Set<string>(), everything: true }, false],
  ] as const)("%s", (_, key, concern, expected) => expect(concerns(key, concern)).toBe(expected));
});
