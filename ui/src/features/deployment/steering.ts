/** Asking the server to steer a deployment, from wherever it is shown: what was asked for and is not so yet, and why something cannot be asked for now. */
import { notifications } from "@mantine/notifications";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { http, problemOf, type Schemas } from "../../api/client";
import { useMay } from "../../app/session";
import { useLockedOut } from "../agent/lock";

export type Verb = "pause" | "resume" | "promote" | "cancel";

interface Steering {
  /** Asked for, and the server has not yet answered with another state. */
  pending: Verb | null;
  /** The request is on its way. */
  under: Verb | null;
  /** Why not, empty where it is possible: anything at all, what only the lock's holder may do, a second thing before the first has happened. */
  whyNot: string;
  lockedOut: string;
  busy: string;
  /** With a reason; what went wrong. */
  send: (verb: Verb, reason: string) => Promise<unknown>;
  /** Without asking anybody; what went wrong is told. */
  atOnce: (verb: Verb) => Promise<void>;
}

export function useSteering(deployment: Schemas["DeploymentView"]): Steering {
  const queries = useQueryClient();
  const may = useMay("operator", deployment.agent_id);
  const lockedOut = useLockedOut(deployment.agent_id);
  const [under, setUnder] = useState<Verb | null>(null);
  const [asked, setAsked] = useState<{ verb: Verb; from: string } | null>(null);

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
  const atOnce = async (verb: Verb) => {
    setAsked({ verb, from: deployment.status });
    const error = await send(verb, "");
    if (error) setAsked(null);
    if (error) notifications.show({ color: "danger", message: `${problemOf(error).title} ${problemOf(error).hint}` });
  };
  return {
    pending,
    under,
    whyNot: may || (deployment.status === "rolling_back" ? "It is being rolled back." : ""),
    lockedOut,
    busy: pending ? "It was asked for; the server has not said yet that it is so." : "",
    send,
    atOnce,
  };
}
