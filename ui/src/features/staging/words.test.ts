import { expect, it } from "vitest";
import { caseName, compared, held } from "./words";

it.each([
  [{ ratio: 0.8, low: 0.7, high: 0.9 }, "20 % faster (between −30 % and −10 %)."],
  [{ ratio: 1.05, low: 1.0, high: 1.1 }, "5 % slower, within the 10 % that are tolerated (between ±0 % and +10 %)."],
  [{ ratio: 1.4, low: 1.2, high: 1.6 }, "40 % slower, beyond the 10 % that are tolerated (between +20 % and +60 %)."],
  [{ ratio: 1, low: 0.99, high: 1.01 }, "About the same (between −1 % and +1 %)."],
])("%j reads %s", (row, words) => expect(compared(row, 10)).toBe(words));

it.each([
  ["tests.smoke.test_smoke::test_it_is_healthy", "it is healthy"],
  ["tests.test_a::test_names[green-sea.org]", "names [green-sea.org]"],
  ["holds the target", "holds the target"],
])("the case %s is called %s", (name, words) => expect(caseName(name)).toBe(words));

it.each([
  [null, "It does not hold even 10/s."],
  [10, "It bends at about 10/s, below the 20/s it must hold."],
  [20, "It bends at about 20/s."],
  [40, "It kept up with everything that was sent, up to 40/s."],
])("a knee at %s is told as what it holds", (knee, words) =>
  expect(held({ knee_rps: knee, target_rps: 20, steps: [10, 20, 40].map((target_rps) => ({ target_rps })) })).toBe(
    words,
  ),
);
