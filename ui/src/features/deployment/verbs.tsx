/** What can be done with a deployment that has not ended, always in this order; what cannot be done now says why. Rolling back stands apart. */
import { Group, Text } from "@mantine/core";
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { http, problemOf, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { Action } from "../../components/action";
import { Confirm } from "../../components/confirm";
import { AnchorLink } from "../../components/links";
import { REASONS } from "../../components/reason";
import { isWaiting } from "../../lib/deployments";
import { useLockedOut } from "../agent/lock";

type Deployment = Schemas["DeploymentView"];
type Verb = "pause" | "resume" | "promote" | "cancel";

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
  const queries = useQueryClient();
  const may = useMay("operator", deployment.agent_id);
  const lockedOut = useLockedOut(deployment.agent_id);
  const [asking, setAsking] = useState<"promote" | "cancel" | null>(null);
  const [under, setUnder] = useState<Verb | null>(null);
  const [asked, setAsked] = useState<{ verb: Verb; from: string } | null>(null);
  const paused = deployment.status === "paused";
  const waiting = isWaiting(deployment.status);

  const send = async (verb: Verb, reason: string): Promise<unknown> => {
    setUnder(verb);
    const { error } = await http.POST(`/api/platform/agents/{agent_id}/upgrades/{upgrade_id}/${verb}`, {
      params: { path: { agent_id: deployment.agent_id, upgrade_id: deployment.upgrade_id } },
      // The state that was seen, not the revision, which a running deployment changes every second. Taking back is meant in every state.
      body: { ...(reason ? { reason } : {}), ...(verb === "cancel" ? {} : { if_state: deployment.status }) } as never,
    });
    await queries.invalidateQueries();
    setUnder(null);
    return error;
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: another state ends whatever was waited for
  useEffect(() => setAsked(null), [deployment.status]);
  // The server took it; whether it is so is told by the state that it answers from then on.
  const pending = asked?.from === deployment.status ? asked.verb : null;
  const at_once = async (verb: Verb) => {
    setAsked({ verb, from: deployment.status });
    const error = await send(verb, "");
    if (error) setAsked(null);
    if (error) notifications.show({ color: "danger", message: `${problemOf(error).title} ${problemOf(error).hint}` });
  };
  const whyNot = may || (deployment.status === "rolling_back" ? "It is being taken back." : "");
  const busy = pending ? "It was asked for; the server has not said yet that it is so." : "";
  return (
    <Group gap="sm" className="verbs" role="group" aria-label="Steer this deployment">
      {pending && <Waiting key={pending} />}
      {!waiting && (
        <>
          {paused ? (
            <Action why={whyNot || lockedOut || busy} variant="default" onAct={() => void at_once("resume")}>
              {pending === "resume" ? "Resuming…" : "Resume"}
            </Action>
          ) : (
            <Action why={whyNot || busy} variant="default" onAct={() => void at_once("pause")}>
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
