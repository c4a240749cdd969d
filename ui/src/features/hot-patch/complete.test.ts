import { describe, expect, it } from "vitest";
import { offers, placeOf } from "./complete";

const schema = {
  properties: {
    model: { enum: ["small", "large"], description: "Which" },
    quiet: { type: "boolean", default: false },
    limits: { type: "object", properties: { rate: { type: "number", default: 5 }, burst: { type: "integer" } } },
  },
};

describe("the place of the cursor", () => {
  it.each([
    ['{\n  "mo', [], undefined, '"mo'],
    ['{\n  "limits": {\n    "', ["limits"], undefined, '"'],
    ["limits:\n  rate: 1\n  ", ["limits"], undefined, ""],
    ['{\n  "model": "s', [], "model", '"s'],
    ["limits:\n  rate: ", ["limits"], "rate", ""],
    ['{\n  "limits": {\n    "rate": 1\n  },\n  ', [], undefined, ""],
  ])("%j is in %j at %j", (before, path, key, typed) => {
    const place = placeOf(before);
    expect([place?.path, place?.key, place?.typed]).toEqual([path, key, typed]);
  });
  it("is unknown behind a whole value", () => expect(placeOf('{\n  "model": "small",')).toBeNull());
});

describe("what is offered", () => {
  const labels = (before: string, present: string[] = []) => {
    const place = placeOf(before);
    return place ? offers(schema, place, present, true).map((offer) => offer.apply) : [];
  };
  it("are keys that are not there yet", () => {
    expect(labels('{\n  "', ["model"])).toEqual(['"quiet": ', '"limits": ']);
    expect(labels('{\n  "limits": {\n    ')).toEqual(['"rate": ', '"burst": ']);
  });
  it("are values that the schema names", () => {
    expect(labels('{\n  "model": ')).toEqual(['"small"', '"large"']);
    expect(labels('{\n  "quiet": ')).toEqual(["true", "false"]);
    expect(labels('{\n  "limits": {\n    "rate": ')).toEqual(["5"]);
  });
  it("are without quotes in YAML", () => {
    const place = placeOf("model: ");
    expect(place && offers(schema, place, [], false).map((offer) => offer.apply)).toEqual(["small", "large"]);
  });
});
