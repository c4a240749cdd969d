import { expect, test } from "vitest";
import type { Schemas } from "../../api/client";
import { conditions } from "./conditions";

const policy: Schemas["PolicyView"] = {
  enabled: true,
  error_rate_threshold: 5,
  latency_threshold_ms: null,
  latency_quantile: 0.95,
  min_requests: 50,
  promote_error_rate: 2,
  promote_latency_ms: null,
};
const judgement: Schemas["JudgementView"] = {
  verdict: "inconclusive",
  sentence: "",
  metric: null,
  value: null,
  threshold: null,
  requests: 30,
  window_seconds: 10,
  rule: "",
  stable_value: null,
  evidence: [],
  missing_requests: 20,
  common_cause: false,
};
const of = (errors: number | null, change: Partial<Schemas["PolicyView"]> = {}) =>
  conditions({ auto_rollback: { ...policy, ...change }, judgement, overridden_by: null }, { error_rate: errors });

test("a figure is good below the one limit, bad above the other, and a warning between them", () => {
  expect([0, 2, 3, 5, 6].map((errors) => of(errors)[0]?.tone)).toEqual(["good", "good", "warn", "warn", "bad"]);
});

test("what was not measured is neither, and what has no limit is no condition", () => {
  expect(of(null)[0]).toMatchObject({ tone: "quiet", value: "–", wanted: "goes on below 2 %, rolls back above 5 %" });
  expect(of(0).map((condition) => condition.name)).toEqual(["Errors", "Requests compared", "Verdict"]);
  expect(of(0, { latency_threshold_ms: 300, promote_latency_ms: 150 })[1]?.wanted).toBe(
    "goes on below 150 ms, rolls back above 300 ms",
  );
});

test("requests are enough or not yet, and how many are missing is said", () => {
  const [, requests, verdict] = of(0);
  expect(requests).toMatchObject({ tone: "busy", value: "30", wanted: "at least 50" });
  expect(verdict).toMatchObject({ tone: "busy", value: "Not yet clear", wanted: "about 20 more requests are needed" });
  expect(of(0, { min_requests: 30 })[1]?.tone).toBe("good");
});

test("limits that take nothing back are no conditions, and before the first reading there is nothing to say", () => {
  expect(of(9, { enabled: false }).map((condition) => condition.name)).toEqual(["Requests compared", "Verdict"]);
  expect(
    conditions({ auto_rollback: policy, judgement: null, overridden_by: null }, {}).map((condition) => condition.name),
  ).toEqual(["Errors"]);
});
