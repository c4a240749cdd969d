import { expect, it } from "vitest";
import { between } from "./between";

const all = ["3", "2", "1"].map((version) => ({ version }));
const names = (from: string, to: string) => {
  const { versions, back } = between(all, from, to);
  return [versions.map((each) => each.version).join(" "), back];
};

it("between two versions lies what the later ones brought", () => {
  expect(names("1", "3")).toEqual(["3 2", false]);
  expect(names("2", "3")).toEqual(["3", false]);
  expect(names("3", "1")).toEqual(["3 2", true]);
  expect(names("2", "2")).toEqual(["", false]);
  expect(names("2", "9")).toEqual(["", false]);
});
