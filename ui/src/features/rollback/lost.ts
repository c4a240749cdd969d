/** Whether a rollback loses something that the agent remembers. Only then is its name asked for: going back is otherwise never made hard. */
import type { Schemas } from "../../api/client";

type Plan = Pick<Schemas["RollbackPlanView"], "choice_needed" | "state_sentence"> & {
  choices: Pick<Schemas["RollbackPlanView"]["choices"][number], "state" | "set_aside">[];
};

/** In a sentence; empty when nothing is lost. Without a choice of the operator's the state is kept. */
export function lost(plan: Plan, state: "keep" | "restore" | null): string {
  const chosen = plan.choices.find((choice) => choice.state === (state ?? "keep"));
  if (chosen?.set_aside)
    return `${chosen.set_aside} records that were written since are set aside: nobody answers with them any more.`;
  if (plan.choice_needed && state === "keep")
    return `The older version may not be able to use what is kept: ${plan.state_sentence}.`;
  return "";
}
