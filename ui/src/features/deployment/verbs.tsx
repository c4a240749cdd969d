/** What can be done with a deployment that has not ended, always in this order; what cannot be done now says why. Rolling back stands apart. */
import { Group, Text } from "@mantine/core";
import { useEffect, useState } from "react";
import type { Schemas } from "../../api/client";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { AnchorLink } from "../../components/links";
import { REASONS } from "../../components/reason";
import { isWaiting } from "../../lib/deployments";
import { useSteering } from "./steering";

type Deployment = Schemas["DeploymentView"];

const ASKED: Record<
  "promote" | "cancel",
  { title: string; words: string; act: string; keep: string; danger?: boolean }
> = {
  promote: {
    title: "Advance now",
    words: "Ends the present watch and goes on to the next step.",
    act: "Advance now",
    keep: "Keep watching",
  },
  cancel: {
    title: "Cancel",
    words: "Gives it up; whatever traffic moved goes back to the old version.",
    act: "Cancel and take back",
    danger: true,
    keep: "Keep running",
  },
};

/** Nothing of it was begun, so that there is nothing to take back. */
const UNBEGUN = { words: "It never begins.", act: "Cancel it", keep: "Let it wait" };

export function Verbs({ deployment }: { deployment: Deployment }) {
  const { pending, under, whyNot, lockedOut, busy, send, atOnce } = useSteering(deployment);
  const [asking, setAsking] = useState<"promote" | "cancel" | null>(null);
  const paused = deployment.status === "paused";
  const waiting = isWaiting(deployment.status);
  return (
    <Group gap="sm" className="verbs" role="group" aria-label="Steer this deployment">
      {pending && <Waiting key={pending} />}
      {!waiting && (
        <>
          {paused ? (
            <Action why={whyNot || lockedOut || busy} variant="default" onAct={() => void atOnce("resume")}>
              {pending === "resume" ? "Resuming…" : "Resume"}
            </Action>
          ) : (
            <Action why={whyNot || busy} variant="default" onAct={() => void atOnce("pause")}>
              {pending === "pause" ? "Pausing…" : "Pause"}
            </Action>
          )}
          <Action
            why={whyNot || lockedOut || (paused ? "Resume it first." : "")}
            loading={under === "promote"}
            variant="default"
            onAct={() => setAsking("promote")}
          >
            Advance now
          </Action>
        </>
      )}
      <Action why={whyNot} loading={under === "cancel"} variant="default" onAct={() => setAsking("cancel")}>
        Cancel
      </Action>
      {!waiting && (
        <Action why={whyNot} color="danger" ml={{ base: 0, sm: "md" }} onAct={() => setAsking("cancel")}>
          Roll back
        </Action>
      )}
      {asking && (
        <Confirm
          {...ASKED[asking]}
          {...(waiting ? UNBEGUN : {})}
          title={`${ASKED[asking].title}: ${deployment.agent_id} ${deployment.to_version}`}
          reasons={REASONS}
          onAct={async (reason) => ({ error: await send(asking, reason) })}
          onClose={() => setAsking(null)}
        />
      )}
    </Group>
  );
}

const SLOW_MS = 5000;
const VERY_SLOW_MS = 15_000;

/** Nothing at first; then that the answer is late; then where to look. */
function Waiting() {
  const [late, setLate] = useState(0);
  useEffect(() => {
    const timers = [SLOW_MS, VERY_SLOW_MS].map((after, step) => window.setTimeout(() => setLate(step + 1), after));
    return () => timers.forEach(window.clearTimeout);
  }, []);
  return (
    <Text size="sm" className="tone-warn" role="status">
      {late > 0 && "Still waiting for the server. "}
      {late > 1 && <AnchorLink to="/audit">See what it did</AnchorLink>}
    </Text>
  );
}
