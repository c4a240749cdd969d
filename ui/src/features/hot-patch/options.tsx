/** How a change goes about: who gets it first, whether it goes back by itself, what of it may take a restart. */
import { Checkbox, Group, NumberInput, Radio, Stack, Text } from "@mantine/core";
import type { Schemas } from "../../api/client";
import { absolute } from "../../lib/format";

export interface Options {
  reach: "fast" | "safe" | "instant" | "chosen";
  places: number[];
  percent: number;
  watchSeconds: number;
  /** Minutes after which it goes back by itself; empty: it stays. */
  minutes: number | "";
  restart: "locked" | "rolling" | "later";
}

export const FRESH: Options = {
  reach: "fast",
  places: [],
  percent: 25,
  watchSeconds: 60,
  minutes: "",
  restart: "locked",
};

/** The part of the request that they stand for. */
export function asked(options: Options): Partial<Schemas["ConfigPatchBody"]> {
  const chosen = options.reach === "chosen";
  return {
    profile: options.reach === "chosen" ? "fast" : options.reach,
    places: chosen ? options.places : [],
    ...(options.reach === "safe" ? { percent: options.percent, monitor_seconds: options.watchSeconds } : {}),
    ...(options.minutes !== "" && !chosen ? { expires_seconds: options.minutes * 60 } : {}),
    restart: options.restart === "later" ? "later" : "rolling",
  };
}

/** The same as the command line says it. */
export function words(options: Options): string[] {
  const { profile, places, expires_seconds, percent, monitor_seconds, restart } = asked(options);
  return [
    profile === "fast" ? "" : `--profile ${profile}`,
    places?.length ? `--places ${places.join(",")}` : "",
    percent === undefined ? "" : `--percent ${percent} --monitor-seconds ${monitor_seconds}`,
    expires_seconds === undefined ? "" : `--for ${options.minutes}min`,
    restart === "later" ? "--restart later" : "",
  ].filter(Boolean);
}

const REACH: [Options["reach"], string, string][] = [
  ["fast", "One instance first", "It is looked at for a second; then all others."],
  ["safe", "A part of them, watched", "Compared with the others; then all, or back by itself."],
  ["instant", "All at once", "Each is still asked beforehand."],
  ["chosen", "Only chosen instances", "The others keep what they have."],
];

interface Props {
  options: Options;
  places: number[];
  reload: string;
  startOnly: boolean;
  change: (part: Partial<Options>) => void;
}

export function HowTo({ options, places, reload, startOnly, change }: Props) {
  return (
    <Stack gap="md">
      <Radio.Group
        label="Who gets it"
        value={options.reach}
        onChange={(reach) => change({ reach: reach as Options["reach"] })}
      >
        <Stack gap="xs" mt={6}>
          {REACH.map(([value, label, description]) => (
            <Radio key={value} value={value} label={label} description={description} />
          ))}
        </Stack>
      </Radio.Group>
      {options.reach === "safe" && (
        <Group grow align="flex-start">
          <NumberInput
            label="First part, percent"
            min={1}
            max={100}
            value={options.percent}
            onChange={(percent) => change({ percent: Number(percent) || FRESH.percent })}
          />
          <NumberInput
            label="Watched for, seconds"
            min={0}
            max={86_400}
            value={options.watchSeconds}
            onChange={(seconds) => change({ watchSeconds: seconds === "" ? FRESH.watchSeconds : Number(seconds) })}
          />
        </Group>
      )}
      {options.reach === "chosen" && (
        <Checkbox.Group
          label="Instances"
          description="By their place, in every generation."
          error={options.places.length ? undefined : "Choose at least one."}
          value={options.places.map(String)}
          onChange={(chosen) => change({ places: chosen.map(Number).sort((one, other) => one - other) })}
        >
          <Group gap="md" mt={6}>
            {places.map((place) => (
              <Checkbox key={place} value={String(place)} label={`Instance ${place}`} />
            ))}
          </Group>
        </Checkbox.Group>
      )}
      <NumberInput
        label="Goes back by itself after, minutes"
        description={expiry(options)}
        placeholder="stays"
        min={1}
        max={43_200}
        disabled={options.reach === "chosen"}
        value={options.minutes}
        onChange={(minutes) => change({ minutes: minutes === "" ? "" : Number(minutes) })}
      />
      {startOnly && (
        <Radio.Group
          label="Keys that are read at the start only"
          value={options.restart}
          onChange={(restart) => change({ restart: restart as Options["restart"] })}
        >
          <Stack gap="xs" mt={6}>
            <Radio value="locked" label="Leave them as they are" />
            <Radio
              value="rolling"
              label="Change them by a rolling restart"
              description="New instances come before the old ones go."
            />
            {reload !== "restart" && <Radio value="later" label="Change them at each instance's next start" />}
          </Stack>
        </Radio.Group>
      )}
    </Stack>
  );
}

function expiry(options: Options): string {
  if (options.reach === "chosen") return "A temporary value is for all instances.";
  if (options.minutes === "") return "Empty: it stays until somebody changes it.";
  return `If applied now, until ${absolute(new Date(Date.now() + options.minutes * 60_000).toISOString())}.`;
}

export function Warnings({ of }: { of: string[] }) {
  return of.map((warning) => (
    <Text key={warning} size="sm" className="tone-warn cut">
      {warning}
    </Text>
  ));
}
